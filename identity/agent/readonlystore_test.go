package agent_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// mount lays a file into a directory as a container engine mounts a secret: a
// link to a directory of this content, put in place of the one before.
func mount(t *testing.T, dir, name, version string, content []byte) {
	t.Helper()
	at := filepath.Join(dir, "..version-"+version)
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(at, name), content, 0o400); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(at), next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
}

// TestGivenFile has an identity that somebody else puts there, and replaces. No
// log-in is needed, and nothing is ever written.
func TestGivenFile(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "identity.json")
	store := store.NewReadOnly(path)
	a := r.agent(func(c *agent.Config) { c.Store = store })

	_, err := a.Session(t.Context(), "")
	r.fails(err, identity.ErrNoIdentity, path+": no agent identity is stored there; put one there, or leave identity.file out")

	login := r.server.Login(chatgpttest.Account{})
	var runtimeIDs []string
	for _, version := range []string{"1", "2"} {
		jwt := r.server.IdentityJWT(r.server.RegisterIdentity(login))
		r.keys = append(r.keys, jwt)
		mount(t, dir, "identity.json", version, []byte(jwt))
		session := r.session(a, "")
		if r.accepts(session) != 200 {
			t.Errorf("version %s: the backend refuses it", version)
		}
		if slices.Contains(runtimeIDs, session.Identity.AgentRuntimeID) {
			t.Errorf("version %s: the one before still signs", version)
		}
		runtimeIDs = append(runtimeIDs, session.Identity.AgentRuntimeID)
	}

	record, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	_, registerErr := a.Register(t.Context())
	for name, err := range map[string]error{"register": registerErr, "keep": a.Keep(record), "remove": a.Forget()} {
		if err == nil || !strings.Contains(err.Error(), path+", which is never written; replace that file, or leave identity.file out") {
			t.Errorf("%s: %v", name, err)
		}
	}
	mount(t, dir, "identity.json", "3", []byte("{"))
	_, err = a.Session(t.Context(), "")
	r.fails(err, nil, "put there what agentproxy identity export prints")
}

// TestGivenIdentityIsNotReplaced: an identity that the backend has forgotten is
// not replaced by one that lives in memory, whoever is logged in, nor by Codex's.
func TestGivenIdentityIsNotReplaced(t *testing.T) {
	r := newRig(t)
	login := r.server.Login(chatgpttest.Account{})
	r.write(login.AuthJSONWithIdentity("C"))
	path := filepath.Join(t.TempDir(), "identity.json")
	a := r.agent(func(c *agent.Config) { c.Store = store.NewReadOnly(path) })
	_, err := a.Session(t.Context(), "")
	r.fails(err, identity.ErrNoIdentity, path)

	given := store.NewFile(path)
	other := r.agent(func(c *agent.Config) { c.Store = given; c.StateDir = "" })
	if _, err := other.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.session(a, "")
	registered := r.server.Stats().AgentRegistrations
	r.server.ForgetAgents()
	for range 3 {
		_, err := a.Session(t.Context(), "another")
		r.fails(err, nil, "")
	}
	if got := r.server.Stats().AgentRegistrations; got != registered {
		t.Errorf("%d agents were registered", got-registered)
	}
}
