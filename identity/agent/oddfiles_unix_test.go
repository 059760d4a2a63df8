//go:build !windows

package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// oddFiles are what a file may be in place of one that can be read.
var oddFiles = map[string]struct {
	make func(path string) error
	says string
}{
	"pipe":   {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
	"device": {func(path string) error { return os.Symlink("/dev/zero", path) }, "not a regular file"},
	"large":  {func(path string) error { return os.WriteFile(path, make([]byte, 1<<20+1), 0o600) }, "larger than 1 MiB"},
}

// TestOddStateFiles has each of the files that an agent keeps be something that it
// must not wait for or read as a whole. It works all the same. It replaces a file, and says that
// it cannot replace anything else.
func TestOddStateFiles(t *testing.T) {
	for kind, odd := range oddFiles {
		for _, name := range []string{"refresh.json", "tasks.json", "whoami.json"} {
			t.Run(kind+" "+name, func(t *testing.T) {
				r := newRig(t)
				r.server.SetTokenLifetime(time.Hour)
				l := r.login(chatgpttest.Account{})
				path := filepath.Join(r.state, name)
				if err := errors.Join(os.MkdirAll(r.state, 0o700), odd.make(path)); err != nil {
					t.Fatal(err)
				}
				defer os.Remove(path) // the rig reads all that is there
				a := r.agent()
				if r.accepts(r.session(a, "label")) != 200 {
					t.Error("refused")
				}
				r.advance(2 * time.Hour)
				if r.token(a) != l.Current().AccessToken {
					t.Error("an old token")
				}
				if name == "refresh.json" && r.told(odd.says+"; remove it") != 1 {
					t.Errorf("told %d times", r.told(odd.says+"; remove it"))
				}
				if name == "whoami.json" {
					return
				}
				info, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				if replaced := info.Mode().IsRegular() && info.Size() < 1<<20; replaced != (kind == "large") {
					t.Errorf("%s of %d bytes", info.Mode(), info.Size())
				}
				if said := r.told("remembered in memory only") > 0; said == (kind == "large") {
					t.Errorf("told: %v", r.events)
				}
			})
		}
	}
}

// TestOddIdentity has the store hold something else than an identity. One that is too
// large is moved aside and replaced; the others are left alone.
func TestOddIdentity(t *testing.T) {
	for kind, odd := range oddFiles {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			r.login(chatgpttest.Account{})
			if err := errors.Join(os.MkdirAll(r.state, 0o700), odd.make(r.identity())); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(r.identity()) // the rig reads all that is there
			for _, store := range []store.Store{store.NewFile(r.identity()), store.NewReadOnly(r.identity())} {
				if _, err := store.Load(); err == nil || !strings.Contains(err.Error(), r.identity()+": "+odd.says) {
					t.Errorf("%T: %v", store, err)
				}
			}
			_, err := r.agent().Session(t.Context(), "")
			aside, _ := filepath.Glob(r.identity() + ".2*")
			switch {
			case kind != "large" && (err == nil || len(aside) != 0):
				t.Errorf("error %v, set aside %q", err, aside)
			case kind == "large" && (err != nil || len(aside) != 1):
				t.Errorf("error %v, set aside %q", err, aside)
			}
		})
	}
}

// TestOddLogin has auth.json be something that must not be waited for.
func TestOddLogin(t *testing.T) {
	for kind, odd := range oddFiles {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			if err := errors.Join(os.MkdirAll(filepath.Dir(r.path()), 0o700), odd.make(r.path())); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(r.path()) // the rig reads all that is there
			if _, err := r.agent().AccessToken(t.Context()); err == nil || !strings.Contains(err.Error(), r.path()+": "+odd.says) {
				t.Error(err)
			}
		})
	}
}
