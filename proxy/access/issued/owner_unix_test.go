//go:build !windows

package issued

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// TestRootShutsNobodyOut has root issue and revoke tokens in the state directory of the proxy's
// user, who owns all files that come of it.
func TestRootShutsNobodyOut(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("root alone gives files away")
	}
	const owner = 4711
	state, shared := t.TempDir(), t.TempDir()
	list := filepath.Join(shared, "revoked.json")
	key := filepath.Join(t.TempDir(), "key")
	if err := errors.Join(
		os.WriteFile(list, []byte("[]\n"), 0o600), os.WriteFile(key, []byte(strings.Repeat("0f", keyBytes)), 0o600),
		os.Chown(state, owner, owner), os.Chown(shared, owner, owner), os.Chown(list, owner, owner),
	); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	check := func(what string, names ...string) {
		t.Helper()
		for _, path := range names {
			info, err := os.Stat(path)
			if err != nil {
				t.Errorf("%s: %v", what, err)
			} else if uid, _ := safefile.OwnerOf(info); uid != owner {
				t.Errorf("%s: %s belongs to user %d", what, path, uid)
			}
		}
	}
	own := Open(filepath.Join(state, "client-tokens"), c.now, func(err error) { t.Error(err) })
	files := []string{own.dir, filepath.Join(own.dir, "lock"), own.keyPath(), own.listPath(), own.lastPath()}
	_, token := issue(t, own, "a", time.Hour)
	check("the first token", files...)
	for what, change := range map[string]func() error{
		"another token":                func() error { _, _, err := own.Issue(t.Context(), "a", time.Hour); return err },
		"one is revoked":               func() error { return own.RevokeToken(t.Context(), token) },
		"those of a label are revoked": func() error { return own.RevokeLabel(t.Context(), "a") },
	} {
		c.advance(time.Second)
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		check(what, files...)
	}
	if err := own.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("all are revoked", files[:4]...)

	replicas := Open(filepath.Join(state, "other"), c.now, func(err error) { t.Error(err) }).Shared(key, list)
	if err := replicas.RevokeLabel(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	check("a list of replicas", list, list+".lock")
}
