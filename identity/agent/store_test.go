package agent_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestOpenStoreIsNotReplaced leaves a record that others may read to its owner.
func TestOpenStoreIsNotReplaced(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	r.session(a, "")
	if err := os.Chmod(r.identity(), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := r.agent().Session(t.Context(), "")
		r.fails(err, nil, "chmod 600")
	}
	if err := os.Chmod(r.identity(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.session(r.agent(), "")
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
}

func TestStoreKeepsJWT(t *testing.T) {
	r := newRig(t)
	jwt := r.server.IdentityJWT(r.server.RegisterIdentity(r.server.Login(chatgpttest.Account{})))
	r.keys = append(r.keys, jwt)
	record, err := identity.ParseRecord([]byte(jwt))
	if err != nil {
		t.Fatal(err)
	}
	a := r.agent()
	if err := a.Keep(record); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(r.identity())
	if err != nil || string(bytes.TrimSpace(raw)) != `"`+jwt+`"` {
		t.Errorf("stored: %v", err)
	}
	// It is a log-in of its own where nobody else is logged in.
	if s := r.session(a, ""); s.Identity.AgentRuntimeID != record.AgentRuntimeID || r.accepts(s) != 200 {
		t.Errorf("signs as %q", s.Identity.AgentRuntimeID)
	}
	if err := a.Forget(); err != nil {
		t.Fatal(err)
	}
	_, err = a.Session(t.Context(), "")
	r.fails(err, identity.ErrNoLogin, "")
}
