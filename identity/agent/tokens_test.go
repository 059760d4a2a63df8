package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// token wants an access token that the backend takes.
func (r *rig) token(a *agent.Agent) string {
	r.t.Helper()
	token, err := a.AccessToken(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return token.Value.Reveal()
}

func (r *rig) refreshes(want int) {
	r.t.Helper()
	if got := r.server.Stats(); got.Refreshes != want || got.ReusedRefreshTokens != 0 {
		r.t.Fatalf("%d refreshes, %d reused, want %d", got.Refreshes, got.ReusedRefreshTokens, want)
	}
}

const unknownFields = `{
  "$schema": "x",
  "auth_mode": "chatgpt",
  "OPENAI_API_KEY": null,
  "zeta": {"big": 123456789012345678901234567890, "f": 1.10, "list": [1, [], {}, "\u2028<&>é"]},
  "tokens": {"scope": ["a", "b"], "id_token": %q, "access_token": %q, "refresh_token": %q, "account_id": "account-123", "n": 9007199254740993},
  "alpha": "last but one",
  "last_refresh": %q,
  "\u0061fter": true
}`

func TestTokenIsRefreshed(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.server.Login(chatgpttest.Account{})
	original := fmt.Sprintf(unknownFields, l.IDToken, l.AccessToken, l.RefreshToken, r.now().UTC().Format(time.RFC3339))
	r.write([]byte(original))
	if err := os.Chmod(r.path(), 0o644); err != nil {
		t.Fatal(err)
	}
	a := r.agent()
	if got := r.token(a); got != l.AccessToken {
		t.Error("another token than that of the file")
	}
	r.advance(52 * time.Minute)
	if r.token(a) != l.AccessToken {
		t.Error("refreshed too early")
	}
	r.refreshes(0)
	r.advance(90 * time.Second)
	fresh := r.token(a)
	if fresh != l.Current().AccessToken || fresh == l.AccessToken {
		t.Error("not refreshed")
	}
	r.refreshes(1)
	r.token(a)
	r.token(r.agent())
	r.refreshes(1)

	now := l.Current()
	auth := r.auth()
	if auth.Tokens.Access_token != now.AccessToken || auth.Tokens.ID_token != now.IDToken || auth.Tokens.Refresh_token != now.RefreshToken {
		t.Error("the file holds other tokens")
	}
	if since := r.now().Sub(auth.Last_refresh); since < 0 || since > time.Minute {
		t.Errorf("last_refresh is %s", auth.Last_refresh)
	}
	if info, err := os.Stat(r.path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("auth.json: %v, %v", info, err)
	}
	raw, err := os.ReadFile(r.path())
	if err != nil {
		t.Fatal(err)
	}
	// All but the four values is as it was, spaces aside.
	mask := func(raw []byte) string {
		s := strings.Join(strings.Fields(string(raw)), "")
		return regexp.MustCompile(`"(id_token|access_token|refresh_token|last_refresh)":"[^"]*"`).ReplaceAllString(s, `"$1":""`)
	}
	if got, want := mask(raw), mask([]byte(original)); got != want {
		t.Errorf("the file became\n%s\nwas\n%s", got, want)
	}
	if files, _ := filepath.Glob(filepath.Join(r.home, ".*")); len(files) != 0 {
		t.Errorf("left over: %q", files)
	}
}

// TestOpaqueToken goes by last_refresh where the token does not say.
func TestOpaqueToken(t *testing.T) {
	for _, tt := range []struct {
		age  time.Duration
		want int
	}{{7 * 24 * time.Hour, 0}, {8*24*time.Hour + time.Minute, 1}} {
		r := newRig(t)
		l := r.server.Login(chatgpttest.Account{})
		r.write(fmt.Appendf(nil, unknownFields, l.IDToken, "opaque", l.RefreshToken, r.now().Add(-tt.age).UTC().Format(time.RFC3339)))
		r.token(r.agent())
		r.refreshes(tt.want)
	}
}

func TestManyRefreshOnce(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	agents := []*agent.Agent{r.agent(), r.agent()}
	for i := range 4 {
		r.advance(2 * time.Hour)
		together(50, func(i int) {
			token, err := agents[i%2].AccessToken(t.Context())
			if err != nil {
				t.Error(err)
			} else if token.Value.Reveal() != l.Current().AccessToken {
				t.Error("an old token")
			}
		})
		r.refreshes(i + 1)
	}
	// The same with a backend that refuses what is good by its claims.
	old := l.Current().AccessToken
	r.server.ForgetAccessTokens()
	together(50, func(i int) {
		token, err := agents[i%2].RenewToken(t.Context(), identity.Secret(old))
		if err != nil {
			t.Error(err)
		} else if token.Value.Reveal() != l.Current().AccessToken || token.Value.Reveal() == old {
			t.Error("an old token")
		}
	})
	r.refreshes(5)
}

func TestRenewTokenIsPaced(t *testing.T) {
	r := newRig(t)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	renewed := 0
	for range 600 {
		if _, err := a.RenewToken(t.Context(), identity.Secret(r.token(a))); err == nil {
			renewed++
		} else {
			r.fails(err, nil, "a moment ago")
		}
		r.advance(time.Second)
	}
	if renewed < 5 || renewed > 10 {
		t.Errorf("%d refreshes in ten minutes", renewed)
	}
	r.refreshes(renewed)
	// One that somebody else has replaced is compared first.
	if token, err := a.RenewToken(t.Context(), identity.Secret(l.AccessToken)); err != nil || token.Value.Reveal() != l.Current().AccessToken {
		t.Errorf("the file's token was not taken: %v", err)
	}
	r.refreshes(renewed)
}

// TestShortLivedTokens are refreshed as often as they expire.
func TestShortLivedTokens(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(10 * time.Second)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	for range 100 {
		if r.token(a) != l.Current().AccessToken {
			t.Fatal("an old token")
		}
		r.advance(5 * time.Second)
	}
	if n := r.server.Stats().Refreshes; n < 40 || n > 60 {
		t.Errorf("%d refreshes in 500 s", n)
	}
	// Tokens that have expired when they come are not asked for all the time.
	r.server.SetTokenLifetime(-time.Second)
	r.advance(time.Minute)
	before := r.server.Stats().Refreshes
	for range 600 {
		if _, err := a.AccessToken(t.Context()); err != nil {
			r.fails(err, identity.ErrTokenExpired, "")
		}
		r.advance(time.Second)
	}
	if n := r.server.Stats().Refreshes - before; n < 5 || n > 20 {
		t.Errorf("%d refreshes in ten minutes", n)
	}
}

func TestRefreshFailsForAWhile(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	stop := r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Status: 503})
	r.advance(56 * time.Minute)
	for range 180 {
		if r.token(a) != l.AccessToken {
			t.Fatal("another token")
		}
		r.advance(time.Second)
	}
	if n := r.server.Count("/oauth/token"); n < 5 || n > 18 {
		t.Errorf("%d tries in three minutes", n)
	}
	r.advance(5 * time.Minute)
	for range 3 {
		_, err := a.AccessToken(t.Context())
		r.fails(err, identity.ErrTokenExpired, "503")
	}
	stop()
	r.advance(10 * time.Minute)
	if r.token(a) != l.Current().AccessToken {
		t.Error("an old token")
	}
	r.refreshes(1)
	if n := r.told("503"); n < 5 || n > 25 {
		t.Errorf("told %d times", n)
	}
}

// TestSlowRefresh has nobody wait long for a token that he has.
func TestSlowRefresh(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	release := make(chan struct{})
	r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool { <-release; return false }})
	r.advance(56 * time.Minute)
	if r.token(a) != l.AccessToken {
		t.Error("another token")
	}
	// Closing the agent does not lose what the refresh token was spent for.
	closed := make(chan struct{})
	go func() { a.Close(); close(closed) }()
	close(release)
	<-closed
	if got := r.auth().Tokens.Refresh_token; got != l.Current().RefreshToken {
		t.Error("the new refresh token was lost")
	}
	r.refreshes(1)
}

func TestRefreshFailsForGood(t *testing.T) {
	for code, refuse := range map[string]func(*chatgpttest.Server){
		"refresh_token_expired":     (*chatgpttest.Server).ExpireRefreshTokens,
		"refresh_token_invalidated": (*chatgpttest.Server).RevokeRefreshTokens,
	} {
		t.Run(code, func(t *testing.T) {
			r := newRig(t)
			r.server.SetTokenLifetime(time.Hour)
			l := r.login(chatgpttest.Account{})
			a := r.agent()
			refuse(r.server)
			r.advance(56 * time.Minute)
			if r.token(a) != l.AccessToken {
				t.Error("a token that is good was not used")
			}
			r.advance(time.Hour)
			for range 5 {
				_, err := a.AccessToken(t.Context())
				r.fails(err, identity.ErrLoginEnded, code)
				r.fails(err, identity.ErrTokenExpired, "run codex login")
				_, err = a.RenewToken(t.Context(), identity.Secret(l.AccessToken))
				r.fails(err, identity.ErrLoginEnded, code)
				r.advance(time.Hour)
			}
			if n := r.server.Count("/oauth/token"); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if n := r.told(code); n != 1 {
				t.Errorf("told %d times", n)
			}
			r.login(chatgpttest.Account{})
			r.token(a)
			r.advance(2 * time.Hour)
			r.token(a)
			r.refreshes(1)
		})
	}
}

func TestBadRefreshAnswers(t *testing.T) {
	jwt := func(user, workspace string) string {
		other := newRig(t).server.Login(chatgpttest.Account{UserID: user, WorkspaceID: workspace})
		return other.IDToken
	}
	for _, tt := range []struct {
		name, body, text string
		final            bool // the token server's own, which has spent the refresh token
	}{
		{"a filter's page", "<html>\n", "not JSON", false},
		{"a long page", "<html>" + strings.Repeat(" ", 1<<20), "larger than 1 MiB", false},
		{"no token", "{}", "no access_token", true},
		{"broken off", `{"access_token":"a",`, "read the answer", true},
		{"half of it", ` {"access_token":"a`, "ends in the middle", true},
		{"too long", `{"access_token":"a"` + strings.Repeat(" ", 1<<20) + "}", "larger than 1 MiB", true},
		{"line break", `{"access_token":"a\r\nb"}`, "cannot be sent", true},
		{"bad id token", `{"access_token":"a","id_token":"x"}`, "not a JWT", true},
		{"other user", `{"access_token":"theirs","id_token":"` + jwt("user-9", "") + `","refresh_token":"r"}`, "user-9", true},
		{"other workspace", `{"access_token":"theirs","id_token":"` + jwt("", "account-9") + `","refresh_token":"r"}`, "account-9", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.server.SetTokenLifetime(time.Hour)
			r.login(chatgpttest.Account{})
			before, _ := os.ReadFile(r.path())
			a := r.agent()
			fault := chatgpttest.Fault{Path: "/oauth/token", Status: 200, Body: tt.body}
			if tt.name == "broken off" {
				fault.Header = http.Header{"Content-Length": {"1000"}}
			}
			r.server.Inject(fault)
			r.advance(2 * time.Hour)
			for range 3 {
				_, err := a.AccessToken(t.Context())
				r.fails(err, identity.ErrTokenExpired, tt.text)
			}
			if n := r.server.Count("/oauth/token"); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if after, _ := os.ReadFile(r.path()); string(after) != string(before) {
				t.Error("auth.json was changed")
			}
			// The file anew, a restart, and time bring nothing back that is spent.
			r.write(append(before, '\n'))
			for _, a := range []*agent.Agent{a, r.agent()} {
				r.advance(24 * time.Hour)
				_, err := a.AccessToken(t.Context())
				r.fails(err, identity.ErrTokenExpired, tt.text)
				if errors.Is(err, identity.ErrLoginEnded) != tt.final || (a.LoginEnded(t.Context()) != nil) != tt.final {
					t.Errorf("error %v, the log-in has ended: %v", err, a.LoginEnded(t.Context()))
				}
			}
			if n, want := r.server.Count("/oauth/token"), map[bool]int{true: 1, false: 3}[tt.final]; n != want {
				t.Errorf("asked %d times, want %d", n, want)
			}
		})
	}
}

// TestLoginDuringRefresh keeps the log-in that came meanwhile.
func TestLoginDuringRefresh(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	first := r.login(chatgpttest.Account{})
	a := r.agent()
	r.advance(2 * time.Hour)
	var second *chatgpttest.Login
	var once sync.Once
	stop := r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool {
		once.Do(func() { second = r.login(chatgpttest.Account{UserID: "user-2"}) })
		return false
	}})
	token, err := a.AccessToken(t.Context())
	if err != nil || token.Value.Reveal() != second.AccessToken || token.Account.UserID != "user-2" {
		t.Errorf("%+v, %v", token, err)
	}
	if got := r.auth().Tokens.Refresh_token; got != second.RefreshToken {
		t.Error("the new log-in was overwritten")
	}
	stop()
	// Should the former come back, it comes with its successor.
	r.write(fmt.Appendf(nil, unknownFields, first.IDToken, first.AccessToken, first.RefreshToken, r.now().UTC().Format(time.RFC3339)))
	if r.token(a) != first.Current().AccessToken {
		t.Error("an old token")
	}
	r.refreshes(1)
}

// TestStaleFile has Codex write an older version over the refreshed one, again
// and again.
func TestStaleFile(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	versions := [][]byte{}
	for i := range 10 {
		raw, _ := os.ReadFile(r.path())
		versions = append(versions, raw)
		r.advance(2 * time.Hour)
		r.token(a)
		r.refreshes(i + 1)
	}
	for _, old := range versions {
		for _, a := range []*agent.Agent{a, r.agent()} {
			r.write(old)
			if r.token(a) != l.Current().AccessToken {
				t.Fatal("an old token")
			}
			if got := r.auth().Tokens.Refresh_token; got != l.Current().RefreshToken {
				t.Fatal("the file was not brought up to date")
			}
			// Preparing does it as well.
			r.write(old)
			if err := a.Prepare(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if got := r.auth().Tokens.Refresh_token; got != l.Current().RefreshToken {
				t.Fatal("the file was not brought up to date")
			}
		}
	}
	r.refreshes(10)
	// A stale file, and time for the next refresh at once.
	r.write(versions[3])
	r.advance(2 * time.Hour)
	r.token(r.agent())
	r.refreshes(11)
}

// TestCodexRefreshesToo follows a chain of which we made only some links.
func TestCodexRefreshesToo(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	r.advance(2 * time.Hour)
	r.token(a) // ours
	ours, _ := os.ReadFile(r.path())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, backend.DefaultRefreshURL, strings.NewReader(
		`{"client_id":"app_EMoamEEZ73f0CkXaXp7hrann","grant_type":"refresh_token","refresh_token":"`+l.Current().RefreshToken+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.server.Client().Do(request) // Codex's
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	r.write(l.AuthJSON())
	r.advance(2 * time.Hour)
	r.token(a)
	r.refreshes(3)
	r.write(ours) // a Codex that had read it before
	if r.token(a) != l.Current().AccessToken || r.token(r.agent()) != l.Current().AccessToken {
		t.Error("an old token")
	}
	r.refreshes(3)
}

// TestRefreshTokenStays has a backend that leaves the refresh token as it is.
func TestRefreshTokenStays(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	for _, body := range []string{`{"access_token":%q}`, `{"access_token":%q,"refresh_token":"` + l.RefreshToken + `"}`} {
		r.advance(time.Second) // tokens of one second may be alike
		fresh := r.server.Login(chatgpttest.Account{}).AccessToken
		stop := r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Status: 200, Body: fmt.Sprintf(body, fresh)})
		a := r.agent()
		if _, err := a.RenewToken(t.Context(), identity.Secret(r.auth().Tokens.Access_token)); err != nil {
			t.Fatal(err)
		}
		if r.token(a) != fresh || r.auth().Tokens.Access_token != fresh || r.auth().Tokens.Refresh_token != l.RefreshToken {
			t.Error("not refreshed")
		}
		stop()
	}
	if n := r.server.Count("/oauth/token"); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestSymlinkStays(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.server.Login(chatgpttest.Account{})
	target := filepath.Join(t.TempDir(), "elsewhere.json")
	if err := os.WriteFile(target, l.AuthJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, r.path()); err != nil {
		t.Fatal(err)
	}
	r.advance(2 * time.Hour)
	r.token(r.agent())
	if info, err := os.Lstat(r.path()); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("auth.json: %v, %v", info, err)
	}
	raw, err := os.ReadFile(target)
	if err != nil || !strings.Contains(string(raw), l.Current().RefreshToken) {
		t.Errorf("the target was not written: %v", err)
	}
}

// TestJournalIsBroken goes on without it.
func TestJournalIsBroken(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	r.login(chatgpttest.Account{})
	if err := os.MkdirAll(r.state, 0o700); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(r.state, "refresh.json")
	if err := os.WriteFile(journal, []byte("{\"access_token\":\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := r.agent()
	for i := range 3 {
		r.token(a)
		r.advance(2 * time.Hour)
		r.token(a)
		r.refreshes(i + 1)
	}
	if n := r.told("not a record of a refresh"); n != 1 {
		t.Errorf("told %d times", n)
	}
	var j map[string]any
	raw, err := os.ReadFile(journal)
	if err == nil {
		err = json.Unmarshal(raw, &j)
	}
	if err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(journal); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	r.login(chatgpttest.Account{})
	old := time.Now().Add(-time.Hour)
	for name, stays := range map[string]bool{".auth-123": false, ".auth-12x": true, "auth.json.1": true, ".auth-": true} {
		path := filepath.Join(r.home, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Lstat(path); (err == nil) != stays {
				t.Errorf("%s: %v", name, err)
			}
		}()
	}
	r.advance(2 * time.Hour)
	r.token(r.agent())
}

// TestSharedRefreshFile has two agents act by one log-in, whose auth.json holds
// the old tokens again after a refresh: the one knows what the other has spent.
func TestSharedRefreshFile(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	old, err := os.ReadFile(r.path())
	if err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "refresh.json")
	agent := func() *agent.Agent {
		state := t.TempDir()
		return r.agent(func(c *agent.Config) { c.StateDir, c.RefreshFile = state, shared })
	}
	r.advance(2 * time.Hour)
	for range 3 {
		if r.token(agent()) != l.Current().AccessToken {
			t.Error("an old token")
		}
		r.write(old)
	}
	r.refreshes(1)
}
