package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
)

// nextApp returns the app that follows a with another configuration.
func nextApp(t *testing.T, a *App, c *config.Config) *App {
	t.Helper()
	opened, err := openResources(c, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	next, err := a.next(c, opened, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestNextApp has apps that follow one another share what is configured the same,
// and leave nothing behind.
func TestNextApp(t *testing.T) {
	dir := t.TempDir()
	base := "state_dir: $DIR/state\nidentity: {codex_home: " + dir + "}\naudit: {file: " + filepath.Join(dir, "audit") + "}\n"
	load := func(edit ...string) *config.Config {
		t.Helper()
		c, err := config.Load(configtest.Write(t, strings.NewReplacer(edit...).Replace(strings.ReplaceAll(base, "$DIR", dir))), configtest.Environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err := Open(load(), Options{Env: configtest.Environment(nil), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.OpenFiles(); err != nil {
		t.Fatal(err)
	}
	a.Start(ctx, "")
	follow := func(a *App, c *config.Config) *App {
		t.Helper()
		next := nextApp(t, a, c)
		next.Start(ctx, "")
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
			if got := next.Default.Account == a.Default.Account; got != step.account {
				t.Errorf("%s: the account is shared: %v", step.name, got)
			}
			if got := next.Default.Signer == a.Default.Signer; got != step.signer {
				t.Errorf("%s: the signer is shared: %v", step.name, got)
			}
			if got := next.audit == a.audit; got != step.audit {
				t.Errorf("%s: the audit log is shared: %v", step.name, got)
			}
			a.Close()
			if err := next.Auditable(); err != nil {
				t.Errorf("%s: the audit log that is shared was closed: %v", step.name, err)
			}
			a = follow(next, load())
			next.Close()
		}
	}
	a.Close()
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

// TestNextIssued has a token be revoked, and the list lose it. What an app knows as revoked, the
// next one does, unless the keys of the configuration say that other tokens are good.
func TestNextIssued(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(clients, rest string) *config.Config {
		t.Helper()
		c, err := config.Load(configtest.Write(t, "state_dir: "+dir+"/state\nidentity: {codex_home: "+dir+"}\nclients: {"+clients+"}\n"+rest), configtest.Environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, err := Open(load("issued: also", ""), Options{Env: configtest.Environment(nil), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	follow := func(c *config.Config) {
		t.Helper()
		next := nextApp(t, a, c)
		a.Close()
		a = next
	}
	shown, token, err := a.Clients.Issued.Issue(t.Context(), "a", time.Hour)
	if err == nil {
		err = a.Clients.Issued.RevokeToken(t.Context(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want error) {
		t.Helper()
		if _, err := a.Clients.Issued.Check(shown); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	check("revoked", issued.ErrRevoked)
	if err := os.WriteFile(filepath.Join(dir, "state", "client-tokens", "revoked.json"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	follow(load("issued: also", "other_hosts: refuse\n"))
	check("another configuration", issued.ErrRevoked)
	follow(load("issued: also, issued_key_file: "+key, ""))
	check("another key", issued.ErrForeign)
	a.Close()
}

// TestNextPrincipals has profiles that differ from one another, and from clients without one, in
// nothing but their names. Each keeps its own account and signers when their order changes.
func TestNextPrincipals(t *testing.T) {
	dir := t.TempDir()
	load := func(profiles string) *config.Config {
		t.Helper()
		c, err := config.Load(configtest.Write(t, "state_dir: "+dir+"/state\nidentity: {codex_home: "+dir+"}\nclients: {trust_labels: true}\nprofiles:\n"+profiles), configtest.Environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const one, two, three = "  - {name: one, labels: [one]}\n", "  - {name: two, labels: [two]}\n", "  - {name: three, labels: [three]}\n"
	a, err := Open(load(one+two), Options{Env: configtest.Environment(nil), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[*Account]string)
	of := func(a *App) map[string]*Principal {
		all := make(map[string]*Principal)
		for _, p := range a.principals() {
			all[p.Config.Profile] = p
		}
		return all
	}
	former := of(a)
	for name, p := range former {
		if other, ok := seen[p.Account]; ok {
			t.Errorf("%q and %q have one account", name, other)
		}
		seen[p.Account] = name
	}
	for _, profiles := range []string{two + one, three + two + one, one + three + two} {
		c := load(profiles)
		next := nextApp(t, a, c)
		a.Close()
		a = next
		for name, p := range of(a) {
			if old := former[name]; old == nil {
				former[name] = p
			} else if p.Account != old.Account || p.signers != old.signers {
				t.Errorf("%q: the account is shared: %v, the signers: %v", name, p.Account == old.Account, p.signers == old.signers)
			}
		}
	}
	a.Close()
}
