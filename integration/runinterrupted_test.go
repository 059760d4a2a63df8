//go:build linux

package integration

import (
	"errors"
	"fmt"
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

// interruptibleRun is a run that has a log-in to refresh first. COMMAND would leave a file, and
// refreshes wait until release is closed.
type interruptibleRun struct {
	user    *runUser
	cmd     *exec.Cmd
	log     *lockedLog
	release chan struct{}
	begun   time.Time
	over    chan struct{} // closed when it has ended
}

// interruptible starts a run, and returns when it waits for the answer to the refresh, or to its
// handshake with silent if that is not nil.
func interruptible(t *testing.T, mode string, silent net.Listener) *interruptibleRun {
	t.Helper()
	u := newRunUser(t, fixtureConfig{backend: chatgpttest.Config{TokenLifetime: -time.Hour}}, runHome{})
	r := &interruptibleRun{user: u, log: new(lockedLog), release: make(chan struct{}), over: make(chan struct{})}
	asked := make(chan struct{}, 1)
	u.f.backend.Inject(chatgpttest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool {
		select {
		case asked <- struct{}{}:
		default: // it has asked before
		}
		<-r.release
		return false
	}})
	if silent != nil {
		line := `"auth.openai.com:443": "`
		writeFile(t, u.f.config, []byte(strings.Replace(readFile(t, u.f.config), line+u.f.backend.Addr(), line+silent.Addr().String(), 1)))
		giveTo(t, u.f.config, u.uid)
	}
	r.cmd = u.runCommand(t, mode, "touch", "started")
	r.cmd.Stdout, r.cmd.Stderr, r.begun = r.log, r.log, time.Now()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.over)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the run said:\n%s", r.log)
		}
	})
	if silent == nil {
		<-asked
		return r
	}
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return r
}

// says waits until the run says something, or has ended.
func (r *interruptibleRun) says(t *testing.T, words string) {
	t.Helper()
	eventually(t, "the run says: "+words, func() bool {
		select {
		case <-r.over:
			return true
		default:
			return strings.Contains(r.log.String(), words)
		}
	})
}

func (r *interruptibleRun) wait() { <-r.over }

// ended returns what is wrong with the end of the run, which is to say words last.
func (r *interruptibleRun) ended(words string) error {
	r.wait()
	if _, err := os.Stat(filepath.Join(r.user.work, "started")); err == nil {
		return errors.New("COMMAND was started")
	}
	if code, got := r.cmd.ProcessState.ExitCode(), r.log.String(); code != 1 || !strings.HasSuffix(got, words) {
		return fmt.Errorf("exit code %d, %q", code, got)
	}
	return nil
}

// runPatience is how long agentproxy waits for the answer to a refresh, and run for its handshake.
const runPatience = 15 * time.Second

// inTime calls attempt until it finds no fault. What failed is attempted again if agentproxy may
// have given up waiting meanwhile, for the machine was busy: that says nothing of interrupts.
func inTime(t *testing.T, attempt func(t *testing.T) (begun time.Time, fault error)) {
	t.Helper()
	for tries := 10; ; tries-- {
		begun, fault := attempt(t)
		took := time.Since(begun)
		switch {
		case fault == nil:
			return
		case took < runPatience || tries == 0:
			t.Fatalf("after %s: %v", took, fault)
		}
		t.Logf("attempted again, for it took %s: %v", took, fault)
	}
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
				inTime(t, func(t *testing.T) (time.Time, error) {
					silent, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					defer silent.Close()
					r := interruptible(t, mode, silent)
					defer close(r.release)
					interrupt(t, r.cmd)
					return r.begun, r.ended(ended)
				})
			})
			t.Run("answer to come", func(t *testing.T) {
				t.Parallel()
				inTime(t, func(t *testing.T) (time.Time, error) {
					r := interruptible(t, mode, nil)
					interrupt(t, r.cmd)
					r.says(t, waiting)
					close(r.release)
					err := r.ended(ended)
					if auth := readFile(t, filepath.Join(r.user.f.codexHome, "auth.json")); !strings.Contains(auth, r.user.f.login.Current().RefreshToken) {
						err = errors.Join(err, errors.New("the new refresh token was lost"))
					}
					return r.begun, err
				})
			})
			t.Run("twice", func(t *testing.T) {
				t.Parallel()
				inTime(t, func(t *testing.T) (time.Time, error) {
					r := interruptible(t, mode, nil)
					defer close(r.release)
					interrupt(t, r.cmd)
					r.says(t, waiting)
					_ = r.cmd.Process.Signal(os.Interrupt) // it may have ended
					r.wait()
					if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGINT {
						return r.begun, fmt.Errorf("it ended with %v", r.cmd.ProcessState)
					}
					eventually(t, "no process left", func() bool { return len(r.user.processes(t)) == 0 })
					return r.begun, nil
				})
			})
		})
	}
}
