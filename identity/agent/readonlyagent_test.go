package agent_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestReadOnlyAgent asks an agent that is to change nothing for all that it has. It
// registers and refreshes nothing and writes no file, and says what another would do.
func TestReadOnlyAgent(t *testing.T) {
	readOnly := func(c *agent.Config) { c.ReadOnly = true }
	for name, test := range map[string]struct {
		prepare func(r *rig)
		token   error // of AccessToken
		session error
		refresh bool // there is something to refresh with
	}{
		"a log-in":             {func(r *rig) { r.login(chatgpttest.Account{}) }, nil, identity.ErrNoIdentity, true},
		"a log-in of long ago": {func(r *rig) { r.login(chatgpttest.Account{}); r.advance(30 * 24 * time.Hour) }, identity.ErrTokenExpired, identity.ErrNoIdentity, true},
		"an identity": {func(r *rig) {
			r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("C"))
		}, nil, nil, true},
		"a workspace's token": {func(r *rig) {
			r.write(chatgpttest.WorkspaceAuthJSON(r.server.WorkspaceToken(chatgpttest.Account{})))
		}, nil, identity.ErrTokenLogin, false},
		"nothing": {func(*rig) {}, identity.ErrNoLogin, identity.ErrNoLogin, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			test.prepare(r)
			before, stats := readAll(t, r.home), r.server.Stats()
			a := r.agent(auto, readOnly)
			if _, err := a.AccessToken(t.Context()); !errors.Is(err, test.token) {
				t.Errorf("the token: %v, want %v", err, test.token)
			}
			if _, err := a.Session(t.Context(), "label"); test.session != nil && !errors.Is(err, test.session) {
				t.Errorf("the session: %v, want %v", err, test.session)
			}
			if _, err := a.Session(t.Context(), ""); !errors.Is(err, test.session) {
				t.Errorf("the session without a label: %v, want %v", err, test.session)
			}
			if got := a.CanRefresh(t.Context()); got != test.refresh {
				t.Errorf("CanRefresh: %t", got)
			}
			_, err := a.Identity(t.Context())
			if want := errors.Is(test.session, identity.ErrNoIdentity) && !errors.Is(test.session, identity.ErrTokenLogin); err != nil && a.Registers(t.Context(), err) != want {
				t.Errorf("Registers: %t, want %t", !want, want)
			}
			if readAll(t, r.home) != before {
				t.Error("the home was changed")
			}
			if _, err := os.Stat(r.state); err == nil {
				t.Error("a state directory was made")
			}
			now := r.server.Stats()
			if now.AgentRegistrations != stats.AgentRegistrations || now.TaskRegistrations != stats.TaskRegistrations || now.Refreshes != stats.Refreshes {
				t.Errorf("the backend has registered or refreshed something: %+v", now)
			}
		})
	}
}

// readAll returns the names and contents of the files in a directory.
func readAll(t *testing.T, dir string) (all string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all += file + "\n" + string(raw) + "\n"
	}
	return all
}
