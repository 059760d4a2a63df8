package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// goroutines counts those that run code of this package or watch files.
func goroutines() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "agentproxy/identity.") || strings.Contains(stack, "fsnotify") || strings.Contains(stack, "singleflight") {
			n++
		}
	}
	return n
}

// watched runs an agent until the test, or stop, ends it.
func (r *rig) watched(edit ...func(*agent.Config)) (a *agent.Agent, stop func()) {
	a = r.agent(edit...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx, ""); close(done) }()
	stop = func() { cancel(); <-done; a.Close() }
	r.t.Cleanup(stop)
	return a, stop
}

func (r *rig) agents() int { return r.server.Stats().AgentRegistrations }
func (r *rig) tasks() int  { return r.server.Stats().TaskRegistrations }

func TestWatch(t *testing.T) {
	r := newRig(t)
	_, stop := r.watched()
	eventually(t, "the missing log-in is told", func() bool { return r.told("no ChatGPT log-in") == 1 })
	r.login(chatgpttest.Account{})
	eventually(t, "the first is registered", func() bool { return r.tasks() == 1 })
	r.login(chatgpttest.Account{UserID: "user-2"})
	eventually(t, "the second is registered", func() bool { return r.tasks() == 2 })
	// Replaced, as editors do it.
	replacement := filepath.Join(r.home, "new")
	if err := os.WriteFile(replacement, r.server.Login(chatgpttest.Account{UserID: "user-3"}).AuthJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(replacement, r.path()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third is registered", func() bool { return r.tasks() == 3 })
	if r.agents() != 3 || r.told("no ChatGPT log-in") != 1 {
		t.Errorf("%d agents; told %v", r.agents(), r.events)
	}
	stop()
	eventually(t, "no goroutine is left", func() bool { return goroutines() == 0 })
}

func TestWatchDirectoryComesLater(t *testing.T) {
	r := newRig(t)
	home := r.home
	r.home = filepath.Join(home, "later")
	_, stop := r.watched()
	eventually(t, "the missing log-in is told", func() bool { return r.told("later does not exist") == 1 })
	if err := os.Mkdir(r.home, 0o700); err != nil {
		t.Fatal(err)
	}
	r.login(chatgpttest.Account{})
	eventually(t, "the identity is registered", func() bool { return r.tasks() == 1 })
	// It goes, and comes again with another log-in.
	if err := os.Rename(r.home, home+"/away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.home, 0o700); err != nil {
		t.Fatal(err)
	}
	r.login(chatgpttest.Account{UserID: "user-2"})
	eventually(t, "the second is registered", func() bool { return r.tasks() == 2 })
	stop()
	eventually(t, "no goroutine is left", func() bool { return goroutines() == 0 })
}

func TestWatchLink(t *testing.T) {
	r := newRig(t)
	_, stop := r.watched()
	eventually(t, "the missing log-in is told", func() bool { return r.told("no ChatGPT log-in") == 1 })
	target := filepath.Join(t.TempDir(), "target.json")
	if err := os.WriteFile(target, r.server.Login(chatgpttest.Account{}).AuthJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, r.path()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first is registered", func() bool { return r.tasks() == 1 })
	if err := os.WriteFile(target, r.server.Login(chatgpttest.Account{UserID: "user-2"}).AuthJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second is registered", func() bool { return r.tasks() == 2 })
	stop()
}

// TestWatchRepairs brings a stale auth.json up to date that nobody asks for.
func TestWatchRepairs(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	old, _ := os.ReadFile(r.path())
	a, _ := r.watched()
	r.advance(2 * time.Hour)
	r.token(a)
	r.write(old)
	eventually(t, "the file is up to date", func() bool { return r.auth().Tokens.Refresh_token == l.Current().RefreshToken })
	r.refreshes(1)
}

// TestNothingIsLeft closes agents at whatever they are doing.
func TestNothingIsLeft(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	for range 5 {
		a := r.agent()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			together(10, func(i int) { _, _ = a.Session(ctx, string(rune('a'+i))) })
		}()
		cancel()
		a.Close()
		<-done
	}
	eventually(t, "no goroutine is left", func() bool { return goroutines() == 0 })
}
