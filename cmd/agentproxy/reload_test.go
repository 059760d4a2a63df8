package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
)

func TestChangedKeys(t *testing.T) {
	t.Parallel()
	base := "clients: {token: first}\n"
	for changed, want := range map[string][]string{
		base:                         nil,
		"clients: {token: second}\n": {"clients.token"},
		base + "listen: 127.0.0.1:1\nsigner: {use: bearer, rules: [{path: /a, use: none}]}\n":    {"listen", "signer.use", "signer.rules"},
		base + "other_hosts: []\nlimits: {connections: 2000}\n":                                  {"other_hosts", "limits.connections"},
		base + "other_hosts: refuse\nupstream: {connect_to: {\"a.example:1\": \"b.example:1\"}}": {"upstream.connect_to", "other_hosts"},
	} {
		a, err := loadConfig(writeConfig(t, base), testEnvironment(nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := loadConfig(writeConfig(t, changed), testEnvironment(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, changedKeys(a, b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", changed, diff)
		}
	}
}

// TestNextApp has apps that follow one another share what is configured the same,
// and leave nothing behind.
func TestNextApp(t *testing.T) {
	dir := t.TempDir()
	base := "state_dir: $DIR/state\nidentity: {codex_home: " + dir + "}\naudit: {file: " + filepath.Join(dir, "audit") + "}\n"
	load := func(edit ...string) *config {
		t.Helper()
		c, err := loadConfig(writeConfig(t, strings.NewReplacer(edit...).Replace(strings.ReplaceAll(base, "$DIR", dir))), testEnvironment(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err := newApp(load(), testEnvironment(nil), zerolog.Nop(), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.openAudit(nil); err != nil {
		t.Fatal(err)
	}
	a.start(ctx, "")
	follow := func(a *app, c *config) *app {
		t.Helper()
		next, err := a.next(c, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		next.start(ctx, "")
		return next
	}
	for range 20 {
		for _, step := range []struct {
			name                   string
			edit                   []string
			account, signer, audit bool // is shared
		}{
			{"other hosts", []string{"audit:", "other_hosts: refuse\naudit:"}, true, true, true},
			{"signer", []string{"audit:", "signer: {use: bearer}\naudit:"}, true, false, true},
			{"no registration", []string{"identity: {", "identity: {register: false, "}, false, false, true},
			{"upstream", []string{"audit:", "upstream: {allow_private: [10.0.0.0/8]}\naudit:"}, false, false, true},
			{"audit", []string{"file: ", "fsync: true, file: "}, true, true, false},
		} {
			next := follow(a, load(step.edit...))
			if got := next.account == a.account; got != step.account {
				t.Errorf("%s: the account is shared: %v", step.name, got)
			}
			if got := next.signer == a.signer; got != step.signer {
				t.Errorf("%s: the signer is shared: %v", step.name, got)
			}
			if got := next.audit == a.audit; got != step.audit {
				t.Errorf("%s: the audit log is shared: %v", step.name, got)
			}
			a.close()
			if err := next.auditable(); err != nil {
				t.Errorf("%s: the audit log that is shared was closed: %v", step.name, err)
			}
			a = follow(next, load())
			next.close()
		}
	}
	a.close()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
	if file, err := os.ReadDir("/proc/self/fd"); err == nil {
		for _, f := range file {
			if name, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(name, dir) {
				t.Errorf("%s is still open", name)
			}
		}
	}
}
