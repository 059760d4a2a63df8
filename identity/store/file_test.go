package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/store"
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

// TestSetAside copies the record under a name of its own each time.
func TestSetAside(t *testing.T) {
	kept := store.NewFile(filepath.Join(t.TempDir(), "identity.json"))
	at := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	if place, err := kept.SetAside(at); place != "" || err != nil {
		t.Errorf("nothing there: %q, %v", place, err)
	}
	for i, content := range []string{"first", "second", strings.Repeat("x", 1<<20+1)} {
		if err := os.WriteFile(kept.String(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		place, err := kept.SetAside(at)
		if err != nil {
			t.Fatal(err)
		}
		want := kept.String() + ".20260415T120000.000Z" + []string{"", "-2", "-3"}[i]
		if raw, err := os.ReadFile(place); err != nil || string(raw) != content || place != want {
			t.Errorf("%s has %d bytes, %v; want %s with %d", place, len(raw), err, want, len(content))
		}
	}
}
