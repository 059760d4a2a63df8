package agent_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// codexAccount is the account of Codex's entry for a home, by its formula.
func codexAccount(t *testing.T, home string) string {
	t.Helper()
	canonical, err := filepath.EvalSymlinks(home)
	if err != nil {
		t.Fatal(err)
	}
	return "cli|" + fmt.Sprintf("%x", sha256.Sum256([]byte(canonical)))[:16]
}

func TestKeyringStore(t *testing.T) {
	keyring.MockInit()
	r := newRig(t)
	r.login(chatgpttest.Account{})
	kept := store.NewKeyring(r.state)
	if _, err := kept.Load(); !errors.Is(err, identity.ErrNoIdentity) {
		t.Fatalf("an empty keyring: %v", err)
	}
	if place, err := kept.SetAside(time.Now()); place != "" || err != nil {
		t.Errorf("set aside %q, %v", place, err)
	}
	in := func(c *agent.Config) { c.Store = kept }
	a := r.agent(in)
	first := r.session(a, "")
	for range 3 {
		if s := r.session(a, ""); s.Task != first.Task {
			t.Error("another task")
		}
	}
	again := store.NewKeyring(r.state)
	if s := r.session(r.agent(func(c *agent.Config) { c.Store = again }), ""); s.Task != first.Task {
		t.Error("another task after a restart")
	}
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
	if _, err := os.Stat(r.identity()); err == nil {
		t.Error("the identity lies in a file too")
	}
	if _, err := store.NewKeyring(t.TempDir()).Load(); !errors.Is(err, identity.ErrNoIdentity) {
		t.Errorf("another state directory's: %v", err)
	}

	// Another user's: the first is set aside.
	record, err := kept.Load()
	if err != nil {
		t.Fatal(err)
	}
	r.keys = append(r.keys, record.PrivateKey.Reveal())
	r.login(chatgpttest.Account{UserID: "user-2"})
	if s := r.session(a, ""); s.Identity.AgentRuntimeID == record.AgentRuntimeID {
		t.Error("signs as the first")
	}
	if n := r.told("of the keyring"); n != 1 {
		t.Fatalf("told %d times: %v", n, r.events)
	}
	for _, e := range r.events {
		if _, place, ok := strings.Cut(e.Message, "kept as account "); ok {
			raw, err := keyring.Get("agentproxy", strings.TrimSuffix(place, " of the keyring"))
			if err != nil || !strings.Contains(raw, record.AgentRuntimeID) {
				t.Errorf("%s: %v", place, err)
			}
		}
	}
	if err := kept.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := kept.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Load(); !errors.Is(err, identity.ErrNoIdentity) {
		t.Errorf("after removal: %v", err)
	}
}

func TestKeyringIsLocked(t *testing.T) {
	keyring.MockInitWithError(errors.New("the collection is locked"))
	defer keyring.MockInit()
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) {
		c.Store = store.NewKeyring(r.state)
		c.Home.WithKeyring()
	})
	_, err := a.Session(t.Context(), "")
	r.fails(err, nil, "unlock it, or set identity.store to state")
	if n := len(r.server.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	r.token(a)
}

func TestCodexKeyring(t *testing.T) {
	keyring.MockInit()
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.server.Login(chatgpttest.Account{})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(r.home, link); err != nil {
		t.Fatal(err)
	}
	set := func(raw []byte) {
		t.Helper()
		if err := keyring.Set("Codex Auth", codexAccount(t, r.home), string(raw)); err != nil {
			t.Fatal(err)
		}
	}
	set(fmt.Appendf(nil, unknownFields, l.IDToken, l.AccessToken, l.RefreshToken, r.now().UTC().Format(time.RFC3339)))
	in := func(c *agent.Config) { c.Home = codex.OpenHome(link).WithKeyring() }
	a := r.agent(in)
	s := r.session(a, "")
	if got := r.accepts(s); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
	r.advance(2 * time.Hour)
	together(20, func(int) { // of one agent: the keyring's mock takes no more
		token, err := a.AccessToken(t.Context())
		if err != nil || token.Value.Reveal() != l.Current().AccessToken {
			t.Errorf("an old token: %v", err)
		}
	})
	if r.token(r.agent(in)) != l.Current().AccessToken {
		t.Error("an old token")
	}
	r.refreshes(1)
	raw, err := keyring.Get("Codex Auth", codexAccount(t, r.home))
	if err != nil || !strings.Contains(raw, l.Current().RefreshToken) || !r.keepsUnknown([]byte(raw)) {
		t.Errorf("the keyring holds %s, %v", raw, err)
	}
	r.keys = append(r.keys, l.AccessToken, l.RefreshToken, l.Current().AccessToken, l.Current().RefreshToken)
	for _, dir := range []string{r.home, r.state} {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, file := range files {
			if raw, _ := os.ReadFile(file); strings.Contains(string(raw), l.Current().RefreshToken) || filepath.Base(file) == "auth.json" {
				t.Errorf("%s holds the log-in", file)
			}
		}
	}

	// A file counts before the keyring, and a log-out from both is one.
	other := r.login(chatgpttest.Account{UserID: "user-2"})
	if r.token(a) != other.AccessToken {
		t.Error("the file was not read")
	}
	if err := os.Remove(r.path()); err != nil {
		t.Fatal(err)
	}
	if r.token(a) != l.Current().AccessToken {
		t.Error("the keyring was not read")
	}
	if err := keyring.Delete("Codex Auth", codexAccount(t, r.home)); err != nil {
		t.Fatal(err)
	}
	_, err = r.agent(in).AccessToken(t.Context())
	r.fails(err, identity.ErrNoLogin, "run codex login")
}

// TestCodexKeyringBesideAPlaceholder has a placeholder where Codex would keep its
// log-in in a file: it is none.
func TestCodexKeyringBesideAPlaceholder(t *testing.T) {
	keyring.MockInit()
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.server.Login(chatgpttest.Account{})
	placeholder, err := codex.Placeholder(identity.Account{WorkspaceID: "placeholder"}, r.now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.path(), placeholder, 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(c *agent.Config) { c.Home = codex.OpenHome(r.home).WithKeyring() }
	_, err = r.agent(in).AccessToken(t.Context())
	r.fails(err, identity.ErrPlaceholder, "real log-in")

	if err := keyring.Set("Codex Auth", codexAccount(t, r.home), string(l.AuthJSON())); err != nil {
		t.Fatal(err)
	}
	a := r.agent(in)
	account, err := a.Account(t.Context())
	if err != nil || account.WorkspaceID != l.WorkspaceID {
		t.Errorf("account %+v, %v; want the keyring's, %s", account, err, l.WorkspaceID)
	}
	if r.token(a) != l.AccessToken {
		t.Error("the keyring's token was not used")
	}
	r.advance(2 * time.Hour)
	if r.token(a) != l.Current().AccessToken {
		t.Error("an old token")
	}
	r.refreshes(1)
	if raw, _ := os.ReadFile(r.path()); string(raw) != string(placeholder) {
		t.Errorf("auth.json was changed to %s", raw)
	}
	if raw, err := keyring.Get("Codex Auth", codexAccount(t, r.home)); err != nil || !strings.Contains(raw, l.Current().RefreshToken) {
		t.Errorf("the keyring does not hold the new tokens: %v", err)
	}
	r.keys = append(r.keys, l.AccessToken, l.RefreshToken, l.Current().AccessToken, l.Current().RefreshToken)
	other := r.login(chatgpttest.Account{UserID: "user-2"})
	if r.token(a) != other.AccessToken {
		t.Error("a log-in in the place of the placeholder was not read")
	}
}
