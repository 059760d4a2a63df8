//go:build linux

package integration

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// interruptible starts a run that has a log-in to refresh first. COMMAND would leave a
// file, and refreshes wait until release is closed.
func interruptible(t *testing.T, mode string, silent net.Listener) (u *runUser, cmd *exec.Cmd, log *lockedLog, release chan struct{}) {
	t.Helper()
	u = newRunUser(t, fixtureConfig{backend: chatgpttest.Config{TokenLifetime: -time.Hour}}, runHome{})
	release = make(chan struct{})
	asked := make(chan struct{}, 1)
	u.f.backend.Inject(chatgpttest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool {
		asked <- struct{}{}
		<-release
		return false
	}})
	if silent != nil {
		line := `"auth.openai.com:443": "`
		writeFile(t, u.f.config, []byte(strings.Replace(readFile(t, u.f.config), line+u.f.backend.Addr(), line+silent.Addr().String(), 1)))
		giveTo(t, u.f.config, u.uid)
	}
	cmd, log = u.runCommand(t, mode, "touch", "started"), new(lockedLog)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the run said:\n%s", log)
		}
		if _, err := os.Stat(filepath.Join(u.work, "started")); err == nil {
			t.Error("COMMAND was started")
		}
	})
	if silent == nil {
		<-asked
		return u, cmd, log, release
	}
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return u, cmd, log, release
}

// TestRunInterrupted interrupts a run that waits for the log-in's refresh.
func TestRunInterrupted(t *testing.T) {
	t.Parallel()
	const (
		ended   = "agentproxy: interrupted before COMMAND was started\n"
		waiting = "waiting for the answer to a refresh"
	)
	interrupt := func(t *testing.T, cmd *exec.Cmd) {
		t.Helper()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			t.Run("no answer to the handshake", func(t *testing.T) {
				t.Parallel()
				silent, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer silent.Close()
				_, cmd, log, release := interruptible(t, mode, silent)
				defer close(release)
				interrupt(t, cmd)
				_ = cmd.Wait()
				if code, got := cmd.ProcessState.ExitCode(), log.String(); code != 1 || !strings.HasSuffix(got, ended) {
					t.Errorf("exit code %d, %q", code, got)
				}
			})
			t.Run("answer to come", func(t *testing.T) {
				t.Parallel()
				u, cmd, log, release := interruptible(t, mode, nil)
				interrupt(t, cmd)
				eventually(t, "the run says that it waits", func() bool { return strings.Contains(log.String(), waiting) })
				close(release)
				_ = cmd.Wait()
				if code, got := cmd.ProcessState.ExitCode(), log.String(); code != 1 || !strings.HasSuffix(got, ended) {
					t.Errorf("exit code %d, %q", code, got)
				}
				if auth := readFile(t, filepath.Join(u.f.codexHome, "auth.json")); !strings.Contains(auth, u.f.login.Current().RefreshToken) {
					t.Error("the new refresh token was lost")
				}
			})
			t.Run("twice", func(t *testing.T) {
				t.Parallel()
				u, cmd, log, release := interruptible(t, mode, nil)
				defer close(release)
				interrupt(t, cmd)
				eventually(t, "the run says that it waits", func() bool { return strings.Contains(log.String(), waiting) })
				interrupt(t, cmd)
				_ = cmd.Wait()
				if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
					t.Errorf("it ended with %v", cmd.ProcessState)
				}
				eventually(t, "no process left", func() bool { return len(u.processes(t)) == 0 })
			})
		})
	}
}
