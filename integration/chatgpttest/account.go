package chatgpttest

import (
	"crypto/rand"
	"encoding/json"
	"time"
)

// An Account is a user in a workspace.
type Account struct {
	WorkspaceID string // the ChatGPT account id; default account-123
	UserID      string // default user-123
	Email       string // default user@example.com
	PlanType    string // default pro
	FedRAMP     bool   // requests must say X-OpenAI-Fedramp: true
}

func (a Account) withDefaults() Account {
	if a.WorkspaceID == "" {
		a.WorkspaceID = "account-123"
	}
	if a.UserID == "" {
		a.UserID = "user-123"
	}
	if a.Email == "" {
		a.Email = "user@example.com"
	}
	if a.PlanType == "" {
		a.PlanType = "pro"
	}
	return a
}

// Tokens are what a log-in or a refresh hands out.
type Tokens struct {
	IDToken      string
	AccessToken  string
	RefreshToken string
}

// A Login is an account's log-in, as `codex login` makes one. The embedded
// Tokens are those first issued; see [Login.Current].
type Login struct {
	Account
	Tokens

	server   *Server
	current  Tokens         // guarded by server.mu
	identity *AgentIdentity // guarded by server.mu
}

// AddAccount makes an account known to the server, and returns it with empty
// fields filled in. An account with the same workspace and user is replaced.
func (s *Server) AddAccount(a Account) *Account {
	a = a.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.accounts[accountKey{a.WorkspaceID, a.UserID}] = &a
	copied := a
	return &copied
}

// Login makes the account known to the server and issues tokens for it.
func (s *Server) Login(a Account) *Login {
	a = *s.AddAccount(a)
	l := &Login{Account: a, server: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.Tokens = s.issue(l)
	return l
}

// issue makes new tokens for l. The caller holds s.mu.
func (s *Server) issue(l *Login) Tokens {
	now := s.now().Add(-s.state.tokenAge)
	access := s.state.lifetime
	t := Tokens{
		IDToken: s.sign(l.idClaims(now)),
		AccessToken: s.sign(map[string]any{
			"iss": "https://auth.openai.com",
			"aud": []string{"https://api.openai.com/v1"},
			"sub": l.UserID, "jti": rand.Text(),
			"iat": now.Unix(), "exp": now.Add(access).Unix(),
			"client_id":                   oauthClientID,
			"scp":                         []string{"openid", "profile", "email", "offline_access"},
			"https://api.openai.com/auth": l.authClaims(),
		}),
		RefreshToken: "rt_" + rand.Text(),
	}
	s.state.access[t.AccessToken] = &accessToken{account: l.Account, expires: now.Add(access)}
	s.state.refresh[t.RefreshToken] = &refreshToken{login: l}
	l.current = t
	return t
}

func (l *Login) idClaims(now time.Time) map[string]any {
	return map[string]any{
		"iss": "https://auth.openai.com",
		"aud": []string{oauthClientID},
		"sub": l.UserID, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"email": l.Email, "email_verified": true,
		"https://api.openai.com/auth": l.authClaims(),
	}
}

func (l *Login) authClaims() map[string]any {
	return map[string]any{
		"chatgpt_account_id":         l.WorkspaceID,
		"chatgpt_user_id":            l.UserID,
		"user_id":                    l.UserID,
		"chatgpt_plan_type":          l.PlanType,
		"chatgpt_account_is_fedramp": l.FedRAMP,
	}
}

// Current returns the tokens that the server issued last for this log-in.
func (l *Login) Current() Tokens {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	return l.current
}

// Identity returns the agent identity last registered for this log-in with
// [Server.RegisterIdentity], or nil.
func (l *Login) Identity() *AgentIdentity {
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	return l.identity
}

// AuthJSON returns a Codex auth.json for the log-in, with its current tokens.
func (l *Login) AuthJSON() []byte { return l.authJSON("chatgpt", true, nil) }

// AuthJSONWithIdentity registers an agent identity (see [Login.Identity]) and
// returns an auth.json that holds both the tokens and the identity, in one of the
// four shapes that are in circulation: "A", a record of the first generation; "B",
// a JWT; "N", a record of the second generation; "C", one that both read.
func (l *Login) AuthJSONWithIdentity(shape string) []byte {
	return l.authJSON("chatgpt", true, l.identityValue(l.server.RegisterIdentity(l), shape))
}

// AgentAuthJSON registers an agent identity (see [Login.Identity]) and returns
// an auth.json of mode agentIdentity: the identity in the given shape, no tokens.
func (l *Login) AgentAuthJSON(shape string) []byte {
	return l.authJSON("agentIdentity", false, l.identityValue(l.server.RegisterIdentity(l), shape))
}

func (l *Login) identityValue(id *AgentIdentity, shape string) any {
	rec := map[string]any{"agent_runtime_id": id.RuntimeID, "agent_private_key": id.PrivateKeyPKCS8}
	first := func() {
		rec["workspace_id"] = l.WorkspaceID
		rec["chatgpt_user_id"] = l.UserID
		rec["registered_at"] = l.server.time().UTC().Format(time.RFC3339)
		rec["background_task_id"] = id.TaskID
	}
	second := func() {
		rec["account_id"] = l.WorkspaceID
		rec["chatgpt_user_id"] = l.UserID
		rec["email"] = l.Email
		rec["plan_type"] = l.PlanType
		rec["chatgpt_account_is_fedramp"] = l.FedRAMP
		rec["task_id"] = id.TaskID
	}
	switch shape {
	case "A":
		first()
		l.server.SetGeneration(id.RuntimeID, FirstGeneration)
	case "B":
		return l.server.IdentityJWT(id)
	case "C":
		first()
		second()
	case "N":
		second()
		l.server.SetGeneration(id.RuntimeID, SecondGeneration)
	default:
		panic("chatgpttest: no agent_identity of shape " + shape)
	}
	return rec
}

func (l *Login) authJSON(mode string, tokens bool, identity any) []byte {
	doc := map[string]any{"auth_mode": mode, "OPENAI_API_KEY": nil}
	if tokens {
		t := l.Current()
		doc["tokens"] = map[string]any{
			"id_token":      t.IDToken,
			"access_token":  t.AccessToken,
			"refresh_token": t.RefreshToken,
			"account_id":    l.WorkspaceID,
		}
		doc["last_refresh"] = l.server.time().UTC().Format(time.RFC3339Nano)
	}
	if identity != nil {
		doc["agent_identity"] = identity
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("chatgpttest: " + err.Error()) // only strings, bools and maps are in it
	}
	return append(b, '\n')
}
