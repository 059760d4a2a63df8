package agent_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func TestFileStore(t *testing.T) {
	kept := store.NewFile(filepath.Join(t.TempDir(), "a", "b", "identity.json"))
	if _, err := kept.Load(); !errors.Is(err, identity.ErrNoIdentity) {
		t.Errorf("nothing there: %v", err)
	}
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	record := &identity.Record{
		WorkspaceID: "ws-1", UserID: "user-1", AgentRuntimeID: "agent-1", PrivateKey: key.Encode(), TaskID: "task-1",
		RegisteredAt: "2026-04-15T00:00:00Z", Email: "e", PlanType: "pro", FedRAMP: true, Shape: identity.ShapeC,
	}
	versions := map[store.Version]bool{kept.Version(): true}
	for range 20 { // the clock of a file system may be slow
		if err := kept.Save(record); err != nil {
			t.Fatal(err)
		}
		got, err := kept.Load()
		if err != nil || *got != *record {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	versions[kept.Version()] = true
	if err := kept.Save(record); err != nil {
		t.Fatal(err)
	}
	versions[kept.Version()] = true
	if len(versions) != 3 {
		t.Error("a change does not show")
	}
	for path, perm := range map[string]os.FileMode{kept.String(): 0o600, filepath.Dir(kept.String()): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != perm {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	for _, perm := range []os.FileMode{0o644, 0o640, 0o604, 0o660} {
		if err := os.Chmod(kept.String(), perm); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Load(); err == nil || !strings.Contains(err.Error(), "chmod 600 "+kept.String()) {
			t.Errorf("%#o: %v", perm, err)
		}
	}
	if err := os.Chmod(kept.String(), 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Load(); err != nil {
		t.Error(err)
	}
}

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
