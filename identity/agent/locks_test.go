//go:build unix

package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// lockedBy holds one of Codex's locks until release is called.
func lockedBy(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// isLocked reports whether somebody holds a lock.
func isLocked(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK
}

// TestCodexsLocks waits for whoever holds one of Codex's locks on auth.json, holds
// both while it writes, in Codex's order, and none while it asks for tokens.
func TestCodexsLocks(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	// A link, for Codex locks its home and the file that it leads to.
	elsewhere := t.TempDir()
	first := r.server.Login(chatgpttest.Account{})
	if err := os.WriteFile(filepath.Join(elsewhere, "auth.json"), first.AuthJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "auth.json"), r.path()); err != nil {
		t.Fatal(err)
	}
	home, file := filepath.Join(r.home, "auth.lock"), filepath.Join(elsewhere, "auth.json.lock")
	a := r.agent()
	for _, test := range []struct{ held, other string }{{home, file}, {file, home}} {
		release := lockedBy(t, test.held)
		r.advance(2 * time.Hour)
		stop := r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Delay: 10 * time.Millisecond})
		done := make(chan string)
		go func() {
			token, err := a.AccessToken(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Error(err)
			}
			done <- token.Value.Reveal()
		}()
		// Nobody keeps Codex from asking, nor waits for it before that.
		eventually(t, "the token is refreshed", func() bool { return first.Current().AccessToken != first.AccessToken })
		if test.held == file {
			eventually(t, "the lock of the home is held", func() bool { return isLocked(t, home) })
		} else if isLocked(t, file) {
			t.Error("the file was locked before the home")
		}
		if got := r.auth().Tokens.Access_token; got == first.Current().AccessToken {
			t.Error("it was written under somebody's lock")
		}
		release()
		if got := <-done; got != first.Current().AccessToken {
			t.Error("another token than the last")
		}
		stop()
		r.token(a) // which writes what could not be
		eventually(t, "it is written", func() bool {
			r.token(a)
			return r.auth().Tokens.Access_token == first.Current().AccessToken
		})
		if isLocked(t, home) || isLocked(t, file) {
			t.Error("a lock was kept")
		}
		first.AccessToken = first.Current().AccessToken
	}
	r.refreshes(2)
}
