package agent_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

const whoamiPath = "/api/accounts/v1/user-auth-credential/whoami"

// TestWorkspaceToken signs with an access token of a workspace, wherever it is from.
func TestWorkspaceToken(t *testing.T) {
	account := chatgpttest.Account{WorkspaceID: "account-7", UserID: "user-7", Email: "e@example.com", PlanType: "enterprise", FedRAMP: true}
	want := identity.Account{WorkspaceID: "account-7", UserID: "user-7", Email: "e@example.com", PlanType: "enterprise", FedRAMP: true}
	for name, place := range map[string]func(r *rig, token string) func(*agent.Config){
		"auth.json": func(r *rig, token string) func(*agent.Config) {
			r.write(chatgpttest.WorkspaceAuthJSON(token))
			return func(*agent.Config) {}
		},
		"auth.json that names its mode": func(r *rig, token string) func(*agent.Config) {
			r.write(fmt.Appendf(nil, `{"auth_mode":"personalAccessToken","personal_access_token":%q}`, token))
			return func(*agent.Config) {}
		},
		"identity.file": func(r *rig, token string) func(*agent.Config) {
			r.login(chatgpttest.Account{}) // which does not count
			file := filepath.Join(r.home, "token")
			if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return func(c *agent.Config) { c.Store = store.NewReadOnly(file) }
		},
		"CODEX_ACCESS_TOKEN": func(r *rig, token string) func(*agent.Config) {
			r.login(chatgpttest.Account{}) // which does not count
			return func(c *agent.Config) {
				c.AccessToken, c.AccessTokenName = identity.Secret(token), "environment variable CODEX_ACCESS_TOKEN"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			token := r.server.WorkspaceToken(account)
			r.keys = append(r.keys, token)
			edit := place(r, token)
			before := map[string]string{}
			files, _ := filepath.Glob(filepath.Join(r.home, "*"))
			for _, file := range files {
				raw, _ := os.ReadFile(file)
				before[file] = string(raw)
			}
			a := r.agent(auto, edit)
			together(20, func(int) {
				got, err := a.AccessToken(t.Context())
				if err != nil || got.Value.Reveal() != token || got.Account != want {
					t.Errorf("token of %+v, %v", got.Account, err)
				}
			})
			if got, err := a.Account(t.Context()); err != nil || got != want {
				t.Errorf("account %+v, %v", got, err)
			}
			if a.AssertsAll(t.Context()) {
				t.Error("there is nothing to assert with")
			}
			_, err := a.Session(t.Context(), "")
			r.fails(err, identity.ErrTokenLogin, "acts without")
			if err := a.Prepare(t.Context(), ""); err != nil {
				t.Error(err)
			}
			if expiry, err := a.TokenExpiry(t.Context()); err != nil || !expiry.IsZero() {
				t.Errorf("it expires at %s, %v", expiry, err)
			}
			// It outlives what an ordinary token lives, and the service.
			r.advance(30 * 24 * time.Hour)
			defer r.gone(503, whoamiPath)()
			if r.token(a) != token || r.token(r.agent(auto, edit)) != token {
				t.Error("another token")
			}
			// There is nothing to refresh.
			r.server.ForgetAccessTokens()
			_, err = a.RenewToken(t.Context(), identity.Secret(token))
			r.fails(err, nil, "")
			if n := r.server.Count(whoamiPath); n != 1 || len(r.server.Requests()) != 1 {
				t.Errorf("asked %d times, %d requests in all; want one", n, len(r.server.Requests()))
			}
			for file, raw := range before {
				if now, _ := os.ReadFile(file); string(now) != raw {
					t.Errorf("%s was changed", file)
				}
			}
			raw, err := os.ReadFile(filepath.Join(r.state, "whoami.json"))
			if err != nil || strings.Contains(string(raw), token) {
				t.Errorf("whoami.json: %s, %v", raw, err)
			}
		})
	}
}

// TestWorkspaceTokenChanges asks anew for another token.
func TestWorkspaceTokenChanges(t *testing.T) {
	r := newRig(t)
	a := r.agent(auto)
	for i := range 3 {
		token := r.server.WorkspaceToken(chatgpttest.Account{UserID: fmt.Sprint("user-", i)})
		r.write(chatgpttest.WorkspaceAuthJSON(token))
		if r.token(a) != token {
			t.Error("another token")
		}
		if account, err := a.Account(t.Context()); err != nil || account.UserID != fmt.Sprint("user-", i) {
			t.Errorf("account %+v, %v", account, err)
		}
	}
	if n := r.server.Count(whoamiPath); n != 3 {
		t.Errorf("asked %d times", n)
	}
	// And with tokens again it is a log-in like any.
	l := r.login(chatgpttest.Account{})
	if r.token(a) != l.AccessToken {
		t.Error("another token")
	}
	r.session(a, "")
}

// TestWorkspaceTokenRefused tells the remedy, and does not ask all the time.
func TestWorkspaceTokenRefused(t *testing.T) {
	for name, test := range map[string]struct {
		answer chatgpttest.Fault
		text   string
		login  bool // the token is to blame
	}{
		"revoked":       {chatgpttest.Fault{Status: 401, Body: "{}"}, "codex login --with-access-token", true},
		"forbidden":     {chatgpttest.Fault{Status: 403, Body: "{}"}, "codex login --with-access-token", true},
		"down":          {chatgpttest.Fault{Status: 503}, "503", false},
		"not reached":   {chatgpttest.Fault{Reset: true}, "auth.openai.com", false},
		"no workspace":  {chatgpttest.Fault{Status: 200, Body: `{"chatgpt_user_id":"u"}`}, "chatgpt_account_id: missing", false},
		"odd workspace": {chatgpttest.Fault{Status: 200, Body: `{"chatgpt_user_id":"u","chatgpt_account_id":"a b"}`}, "header", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			token := r.server.WorkspaceToken(chatgpttest.Account{})
			r.keys = append(r.keys, token)
			r.write(chatgpttest.WorkspaceAuthJSON(token))
			test.answer.Path = whoamiPath
			stop := r.server.Inject(test.answer)
			a := r.agent(auto)
			for range 10 {
				_, err := a.AccessToken(t.Context())
				r.fails(err, nil, test.text)
				if errors.Is(err, identity.ErrNoLogin) != test.login {
					t.Errorf("error %v", err)
				}
			}
			if n := r.server.Count(whoamiPath); n != 1 {
				t.Errorf("asked %d times", n)
			}
			stop()
			r.advance(time.Minute)
			if r.token(a) != token {
				t.Error("another token")
			}
		})
	}
}

// TestAccessTokenThatIsAnIdentity takes the JWT of an agent from where Codex does.
func TestAccessTokenThatIsAnIdentity(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	id := r.server.RegisterIdentity(l)
	jwt := r.server.IdentityJWT(id)
	r.keys = append(r.keys, jwt)
	a := r.agent(auto, func(c *agent.Config) {
		c.AccessToken, c.AccessTokenName = identity.Secret(jwt), "CODEX_ACCESS_TOKEN"
	})
	s := r.session(a, "label")
	if s.Identity.AgentRuntimeID != id.RuntimeID || s.Identity.Protocol != identity.ProtocolAccounts || !a.AssertsAll(t.Context()) {
		t.Errorf("signs as %q of %q", s.Identity.AgentRuntimeID, s.Identity.Protocol)
	}
	for value, text := range map[string]string{"sk-123456789": "neither", "at-\xff": "header"} {
		a := r.agent(auto, func(c *agent.Config) {
			c.AccessToken, c.AccessTokenName = identity.Secret(value), "CODEX_ACCESS_TOKEN"
		})
		_, err := a.AccessToken(t.Context())
		r.fails(err, nil, "CODEX_ACCESS_TOKEN")
		r.fails(err, nil, text)
		if strings.Contains(err.Error(), value) {
			t.Errorf("%v shows the token", err)
		}
	}
}

// TestModes says of every mode of Codex's what is wrong with it, or signs.
func TestModes(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	token := r.server.WorkspaceToken(chatgpttest.Account{})
	r.keys = append(r.keys, token)
	as := func(mode string) []byte {
		return []byte(strings.Replace(string(l.AuthJSON()), `"chatgpt"`, `"`+mode+`"`, 1))
	}
	for _, test := range []struct {
		auth   []byte
		target error
		text   string
	}{
		{as("chatgpt"), nil, ""},
		{as("chatgptAuthTokens"), nil, ""},
		{chatgpttest.WorkspaceAuthJSON(token), nil, ""},
		{[]byte(`{"auth_mode":"personalAccessToken"}`), identity.ErrNoLogin, "codex login --with-access-token"},
		{[]byte(`{"auth_mode":"personalAccessToken","personal_access_token":"ghp_1"}`), identity.ErrNoLogin, "codex login --with-access-token"},
		{l.AgentAuthJSON("N"), identity.ErrNoLogin, "no access token"},
		{[]byte(`{"auth_mode":"apikey","OPENAI_API_KEY":"sk-1"}`), identity.ErrAPIKey, "run codex login"},
		{[]byte(`{"OPENAI_API_KEY":"sk-1"}`), identity.ErrAPIKey, "run codex login"},
		{[]byte(`{"auth_mode":"headers"}`), identity.ErrNotChatGPT, "run codex login"},
		{[]byte(`{"auth_mode":"bedrockApiKey"}`), identity.ErrNotChatGPT, "Bedrock"},
		{[]byte(`{"auth_mode":"bedrockAccessKeys"}`), identity.ErrNotChatGPT, "Bedrock"},
		{[]byte(`{"auth_mode":"telepathy"}`), nil, "not a mode that agentproxy knows"},
	} {
		r.write(test.auth)
		a := r.agent(auto, func(c *agent.Config) { c.Register = false })
		_, err := a.AccessToken(t.Context())
		if test.text == "" {
			if err != nil {
				t.Errorf("%s: %v", test.auth, err)
			}
			continue
		}
		r.fails(err, test.target, test.text)
	}
	if n := len(r.server.Requests()); n != 1 || r.server.Requests()[0].Method != http.MethodGet {
		t.Errorf("%d requests", n)
	}
}
