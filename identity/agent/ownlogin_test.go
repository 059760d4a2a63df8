package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// ownLogin returns the tokens of a log-in by device code.
func (r *rig) ownLogin(a chatgpttest.Account) identity.TokenSet {
	r.t.Helper()
	var code *backend.DeviceCode
	b := r.deviceBackend(func(int) { r.server.ApproveDevice(code.UserCode, a) })
	code, err := b.DeviceCode(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := b.DeviceLogin(r.t.Context(), code)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r *rig) holdsLogin() bool {
	_, err := os.Stat(filepath.Join(r.home, codex.LoginMark))
	return err == nil
}

func TestLogInAndOut(t *testing.T) {
	for _, inKeyring := range []bool{false, true} {
		keyring.MockInit()
		r := newRig(t)
		r.home = filepath.Join(r.state, "login") // which is not there yet
		withKeyring := func(c *agent.Config) { c.Home = codex.OpenHome(r.home).WithKeyring().Own() }
		if r.holdsLogin() {
			t.Error("holds a log-in before there is one")
		}
		if err := r.agent(withKeyring).LogOut(t.Context(), false); !errors.Is(err, identity.ErrNoLogin) {
			t.Errorf("log out of nothing: %v", err)
		}
		a := r.agent(withKeyring)
		first := r.ownLogin(chatgpttest.Account{})
		if err := a.LogIn(t.Context(), first, inKeyring); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(r.path()); (err == nil) == inKeyring {
			t.Errorf("in the keyring: %v, and auth.json: %v", inKeyring, err)
		}
		if !r.holdsLogin() {
			t.Error("holds no log-in")
		}
		// An agent that runs meanwhile refreshes it, and the file is behind.
		serving := r.agent(withKeyring)
		if _, err := serving.AccessToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.advance(11 * 24 * time.Hour)
		token, err := serving.AccessToken(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Another log-in takes its place, and what was refreshed is revoked.
		if err := r.agent(withKeyring).LogIn(t.Context(), r.ownLogin(chatgpttest.Account{UserID: "user-2"}), inKeyring); err != nil {
			t.Fatal(err)
		}
		if n := r.server.Stats().Revocations; n != 1 {
			t.Errorf("%d revocations after a second log-in", n)
		}
		if inKeyring {
			serving = r.agent(withKeyring) // what a keyring said is believed for ten seconds
		}
		if now, err := serving.AccessToken(t.Context()); err != nil || now.Account.UserID != "user-2" || now.Value == token.Value {
			t.Errorf("after the second log-in: %v, %v", now, err)
		}
		if err := r.agent(withKeyring).LogOut(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if n := r.server.Stats().Revocations; n != 2 {
			t.Errorf("%d revocations after the log-out", n)
		}
		if r.holdsLogin() {
			t.Error("holds a log-in after the log-out")
		}
		for _, path := range []string{r.path(), filepath.Join(r.state, "refresh.json")} {
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", path, err)
			}
		}
		if _, err := r.agent(withKeyring).AccessToken(t.Context()); !errors.Is(err, identity.ErrNoLogin) || !strings.HasSuffix(err.Error(), "; run agentproxy login") {
			t.Errorf("after the log-out: %v", err)
		}
	}
}

// TestLogOutKeepsWhatItCannotRevoke: a log-in that is forgotten and not revoked is
// one that nobody looks after.
func TestLogOutKeepsWhatItCannotRevoke(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if err := r.agent().LogIn(t.Context(), r.ownLogin(chatgpttest.Account{}), false); err != nil {
		t.Fatal(err)
	}
	clear := r.server.Inject(chatgpttest.Fault{Path: "/oauth/revoke", Reset: true})
	if err := r.agent().LogOut(t.Context(), false); err == nil || !r.holdsLogin() {
		t.Errorf("%v, and the log-in is there: %v", err, r.holdsLogin())
	}
	if err := r.agent().LogOut(t.Context(), true); err != nil || r.holdsLogin() {
		t.Errorf("by force: %v, and the log-in is there: %v", err, r.holdsLogin())
	}
	clear()
	// What cannot be read can only be removed by force.
	if err := os.WriteFile(r.path(), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	there := func() bool { _, err := os.Stat(r.path()); return err == nil }
	if err := r.agent().LogOut(t.Context(), false); err == nil || !there() {
		t.Errorf("of a broken file: %v", err)
	}
	if err := r.agent().LogOut(t.Context(), true); err != nil || there() {
		t.Errorf("of a broken file, by force: %v", err)
	}
}

// TestLogInsAtOnce: of log-ins that end at once one stays, and no other is good.
func TestLogInsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const n = 8
	var raws [n]identity.TokenSet
	for i := range raws {
		raws[i] = r.ownLogin(chatgpttest.Account{})
	}
	var wait sync.WaitGroup
	for _, raw := range raws {
		a := r.agent()
		wait.Go(func() {
			if err := a.LogIn(context.WithoutCancel(t.Context()), raw, false); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := r.server.Stats().Revocations; got != n-1 {
		t.Errorf("%d revocations, want %d", got, n-1)
	}
	r.advance(11 * 24 * time.Hour)
	if _, err := r.agent().AccessToken(t.Context()); err != nil {
		t.Errorf("the one that stays: %v", err)
	}
}

// TestOwnLoginEnds: what is to be done is said of the log-in that it is.
func TestOwnLoginEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.agent(func(c *agent.Config) { c.Home = codex.OpenHome(r.home).Own() })
	if err := a.LogIn(t.Context(), r.ownLogin(chatgpttest.Account{}), false); err != nil {
		t.Fatal(err)
	}
	r.server.RevokeRefreshTokens()
	r.advance(11 * 24 * time.Hour)
	if _, err := a.AccessToken(t.Context()); !errors.Is(err, identity.ErrLoginEnded) || !strings.HasSuffix(err.Error(), "; run agentproxy login") {
		t.Errorf("an ended log-in: %v", err)
	}
	for _, raw := range []string{"{", `{"auth_mode":"apikey"}`, `{}`} {
		r.write([]byte(raw))
		if _, err := a.AccessToken(t.Context()); err == nil || !strings.Contains(err.Error(), "run agentproxy login") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
