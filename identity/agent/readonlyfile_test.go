//go:build !windows

package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

const nobody = 65534

// dropPrivileges makes a process one of nobody's, so that permissions count.
func dropPrivileges() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := syscall.Setgid(nobody); err != nil {
		return err
	}
	return syscall.Setuid(nobody)
}

// giveAway lets a process without privileges at a file.
func giveAway(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

// readOnlyLogin makes a log-in whose token has expired, in a directory in which nothing
// can be replaced.
func (r *rig) readOnlyLogin(t *testing.T, perm os.FileMode) *chatgpttest.Login {
	t.Helper()
	r.server.SetTokenLifetime(-time.Second)
	l := r.login(chatgpttest.Account{})
	r.server.SetTokenLifetime(time.Hour)
	if err := os.Mkdir(r.state, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{r.path(), r.home, r.state} {
		giveAway(t, path)
	}
	// The way there is root's alone.
	for _, dir := range []string{filepath.Dir(r.home), filepath.Dir(r.state), filepath.Dir(filepath.Dir(r.state))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(r.path(), perm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.home, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(r.home, 0o700) })
	return l
}

// tokenOfNobody returns the access token that a process without privileges gets.
func (r *rig) tokenOfNobody(t *testing.T, courtesy time.Duration) string {
	t.Helper()
	w := worker{Kind: "token", Home: r.home, State: r.state, Addr: r.server.Addr(), CA: string(r.server.CertPEM()), Plain: true, Courtesy: courtesy}
	cmd, stdin, out := w.start(t)
	defer stdin.Close()
	line, _ := out.ReadString('\n')
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return strings.TrimSpace(line)
}

// TestReadOnlyHome has a directory in which nothing can be replaced. A file that
// can be written is written in place; else the journal stands in for it.
func TestReadOnlyHome(t *testing.T) {
	for name, perm := range map[string]os.FileMode{"directory only": 0o600, "file too": 0o400} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			l := r.readOnlyLogin(t, perm)
			for range 3 {
				if got := r.tokenOfNobody(t, 0); got != l.Current().AccessToken {
					t.Errorf("another token: %q", got)
				}
			}
			r.refreshes(1)
			got := r.auth().Tokens.Refresh_token
			if want := map[bool]string{true: l.Current().RefreshToken, false: l.RefreshToken}[perm == 0o600]; got != want {
				t.Error("auth.json holds another token")
			}
			if files, _ := filepath.Glob(filepath.Join(r.home, "*")); len(files) != 1 {
				t.Errorf("left over: %q", files)
			}
		})
	}
}
