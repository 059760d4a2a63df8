package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testJWT is a token with these claims.
func testJWT(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + ".c2ln"
}

const (
	testClaims = `{"email":"ada@example.com","exp":1900000000,"https://api.openai.com/auth":{"chatgpt_user_id":"user-1",` +
		`"user_id":"user-old","chatgpt_account_id":"ws-1","chatgpt_plan_type":"pro","chatgpt_account_is_fedramp":true}}`
	shapeA = `{"workspace_id":"ws-1","chatgpt_user_id":"user-1","agent_runtime_id":"agent-1","agent_private_key":"` + testKey +
		`","registered_at":"2026-04-15T00:00:00Z","background_task_id":"task-1"}`
	shapeC = `{"workspace_id":"ws-1","chatgpt_user_id":"user-1","agent_runtime_id":"agent-1","agent_private_key":"` + testKey +
		`","registered_at":"2026-04-15T00:00:00Z","account_id":"ws-1","email":"ada@example.com","plan_type":"pro",` +
		`"chatgpt_account_is_fedramp":true,"task_id":"task-1","unknown":{"kept":[1]}}`
	jwtClaims = `{"iss":"https://chatgpt.com/codex-backend/agent-identity","aud":"codex-app-server","iat":1776211200,"exp":1900000000,` +
		`"agent_runtime_id":"agent-1","agent_private_key":"` + testKey + `","account_id":"ws-1","chatgpt_user_id":"user-1",` +
		`"email":"ada@example.com","plan_type":"pro","chatgpt_account_is_fedramp":true}`
)

// authJSON is an auth.json with these members besides a log-in.
func authJSON(members ...string) string {
	return fmt.Sprintf(`{"tokens":{"id_token":%q,"access_token":"access-secret","refresh_token":"refresh-secret","account_id":"ws-1"}%s}`,
		testJWT(testClaims), strings.Join(append([]string{""}, members...), ","))
}

func mustAuth(t testing.TB, raw string) *Auth {
	t.Helper()
	a, err := ParseAuth([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAuth(t *testing.T) {
	got := mustAuth(t, authJSON(`"last_refresh":"2026-04-15T01:02:03.456Z"`, `"agent_identity":`+shapeA, `"unknown":[[]]`))
	want := &Auth{
		Mode: ModeChatGPT,
		Tokens: &Tokens{
			IDToken: Secret(testJWT(testClaims)), AccessToken: "access-secret", RefreshToken: "refresh-secret", AccountID: "ws-1",
			Claims: Claims{"user-1", "ws-1", "pro", "ada@example.com", true, time.Unix(1900000000, 0).UTC()},
		},
		LastRefresh: time.Date(2026, 4, 15, 1, 2, 3, 456e6, time.UTC),
		Record: &Record{WorkspaceID: "ws-1", UserID: "user-1", AgentRuntimeID: "agent-1", PrivateKey: testKey,
			RegisteredAt: "2026-04-15T00:00:00Z", TaskID: "task-1", Shape: ShapeA},
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("", Secret.Reveal)); diff != "" {
		t.Error(diff)
	}
}

func TestParseAuthModes(t *testing.T) {
	for _, tt := range []struct {
		raw    string
		mode   Mode
		hasKey bool
	}{
		{`{}`, ModeChatGPT, false},
		{`{"auth_mode":null,"OPENAI_API_KEY":null,"tokens":null,"last_refresh":null,"agent_identity":null}`, ModeChatGPT, false},
		{`{"auth_mode":"","OPENAI_API_KEY":"","tokens":{},"last_refresh":"","agent_identity":""}`, ModeChatGPT, false},
		{`{"OPENAI_API_KEY":"sk-1"}`, ModeAPIKey, true},
		{`{"auth_mode":"chatgpt","OPENAI_API_KEY":"sk-1"}`, ModeChatGPT, true},
		{`{"auth_mode":"apikey"}`, ModeAPIKey, false},
		{`{"auth_mode":"agentIdentity"}`, ModeAgentIdentity, false},
		{"\xef\xbb\xbf{}", ModeChatGPT, false},
	} {
		a := mustAuth(t, tt.raw)
		if a.Mode != tt.mode || a.HasAPIKey != tt.hasKey || a.Tokens != nil || a.Record != nil || a.RecordErr != nil {
			t.Errorf("%s: %+v", tt.raw, a)
		}
	}
}

func TestParseAuthErrors(t *testing.T) {
	for _, tt := range []struct{ raw, text string }{
		{"", "auth.json: empty; run codex login"},
		{"  \n", "auth.json:1: empty; run codex login"},
		{"{\n\"tokens\": {\n \"id_tok", "auth.json:3: ends in the middle; run codex login"},
		{"{\n\n\x00", "auth.json: not text; run codex login"},
		{"\xff\xfe{\x00}\x00", "auth.json: not text; run codex login"},
		{"{\n\"a\": 1\n,,}", "auth.json:3: not JSON; run codex login"},
		{"{}\n}", "auth.json:1: more follows the JSON value; run codex login"},
		{"[]", "auth.json:1: expected object; run codex login"},
		{" null", "auth.json:1: expected object; run codex login"},
		{`"x"`, "auth.json:1: expected object; run codex login"},
		{"{\"tokens\":{\n\n\"account_id\":\n7}}", "auth.json:4: tokens.account_id: expected string; run codex login"},
		{`{"tokens":[]}`, "auth.json:1: tokens: expected object; run codex login"},
		{`{"tokens":{"id_token":"abc"}}`, "auth.json:1: tokens.id_token: not a JWT: expected three parts; run codex login"},
		{`{"tokens":{"id_token":"a.*.c"}}`, "tokens.id_token: not a JWT: the claims are not base64url;"},
		{`{"tokens":{"id_token":"a.MQ.c"}}`, "tokens.id_token: claims: expected object;"},
		{`{"tokens":{"access_token":{"a":1}}}`, "tokens.access_token: expected string;"},
		{`{"OPENAI_API_KEY":1e999}`, "OPENAI_API_KEY: expected string;"},
		{`{"last_refresh":"yesterday"}`, "last_refresh: expected RFC 3339 time;"},
		{`{"last_refresh":1}`, "last_refresh: expected string;"},
		{`{"auth_mode":"ChatGPT"}`, `auth_mode: "ChatGPT" is not a mode that agentproxy knows;`},
		{`{"auth_mode":"a","auth_mode":"b"}`, `field "auth_mode" appears twice;`},
		{`{"tokens":{"a":1,"a":2}}`, `tokens: field "a" appears twice;`},
		{strings.Repeat("[", 20000), "not JSON;"},
		{`{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "not JSON;"},
		{`{"a":"` + strings.Repeat("x", maxAuthBytes) + `"}`, "larger than 1 MiB"},
	} {
		_, err := ParseAuth([]byte(tt.raw))
		wantError(t, tt.text, func() error { return err })
		if _, ok := errors.AsType[*FileError](err); !ok {
			t.Errorf("%v is of type %T", err, err)
		}
	}
}

// What is stored for the agent may be of a version to come. The log-in is good
// all the same.
func TestParseAuthRecordErrors(t *testing.T) {
	for _, tt := range []struct{ record, text string }{
		{`7`, "auth.json:2: agent_identity: expected object"},
		{`{}`, "auth.json:2: agent_identity.agent_runtime_id: missing"},
		{`"not.a.jwt"`, "agent_identity: not a JWT: the claims are not base64url"},
		{`"` + testJWT(`{"agent_runtime_id":7}`) + `"`, "agent_identity: claims.account_id: missing"},
		{strings.Replace(shapeA, `"agent-1"`, `["agent-1"]`, 1), "agent_identity.agent_runtime_id: expected string"},
		{strings.Replace(shapeC, `true`, `"true"`, 1), "agent_identity.chatgpt_account_is_fedramp: expected true or false"},
		{strings.Replace(shapeC, `"account_id":"ws-1"`, `"account_id":"ws-2"`, 1), "agent_identity.account_id: names another account than workspace_id"},
	} {
		a := mustAuth(t, authJSON("\n\"agent_identity\":"+tt.record))
		if a.Tokens == nil || a.Record != nil {
			t.Errorf("%s: %+v", tt.record, a)
		}
		wantError(t, tt.text, func() error { return a.RecordErr })
	}
}

func TestParseClaims(t *testing.T) {
	for _, tt := range []struct {
		claims string
		want   Claims
	}{
		{`{}`, Claims{}},
		{testClaims, Claims{"user-1", "ws-1", "pro", "ada@example.com", true, time.Unix(1900000000, 0).UTC()}},
		{`{"https://api.openai.com/auth":{"user_id":"u"},"https://api.openai.com/profile":{"email":"e"},"exp":1.5e9}`,
			Claims{UserID: "u", Email: "e", Expiry: time.Unix(1500000000, 0).UTC()}},
		{`{"https://api.openai.com/auth":{"chatgpt_user_id":"","user_id":"u"},"email":null,"exp":null}`, Claims{UserID: "u"}},
	} {
		got, err := ParseClaims(testJWT(tt.claims))
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.claims, got, err)
		}
	}
	for _, tt := range []struct{ jwt, text string }{
		{"", "id token: not a JWT"},
		{"a.b", "three parts"},
		{"a.b.", "three parts"},
		{"a.e30.c.d", "three parts"},
		{testJWT(`{"exp":1e999}`), "id token: claims.exp: expected seconds since 1970"},
		{testJWT(`{"exp":-1}`), "exp: expected seconds"},
		{testJWT(`{"exp":"1"}`), "exp: expected seconds"},
		{testJWT(`{"https://api.openai.com/auth":[]}`), "https://api.openai.com/auth: expected object"},
	} {
		wantError(t, tt.text, func() error { _, err := ParseClaims(tt.jwt); return err })
	}

	exp, ok := TokenExpiry(testJWT(`{"exp":1900000000}`))
	if !ok || exp.Unix() != 1900000000 {
		t.Errorf("expiry %v, %v", exp, ok)
	}
	for _, token := range []string{"", "opaque", testJWT(`{}`), testJWT(`{"exp":"soon"}`)} {
		if exp, ok := TokenExpiry(token); ok {
			t.Errorf("%q expires at %v", token, exp)
		}
	}
}

func TestAccount(t *testing.T) {
	login := Account{"ws-1", "user-1", "ada@example.com", "pro", true}
	withoutAccount := strings.Replace(authJSON(), `"account_id":"ws-1"`, `"account_id":""`, 1)
	record := `{"auth_mode":"agentIdentity","agent_identity":` + shapeC + `}`
	for _, tt := range []struct {
		name, raw, forced string
		want              Account
		err               error
	}{
		{"tokens", authJSON(), "", login, nil},
		{"tokens before claims", strings.Replace(authJSON(), `"account_id":"ws-1"`, `"account_id":"ws-9"`, 1), "",
			Account{"ws-9", "user-1", "ada@example.com", "pro", true}, nil},
		{"claims", withoutAccount, "", login, nil},
		{"forced", authJSON(), "ws-2", Account{WorkspaceID: "ws-2", UserID: "user-1", Email: "ada@example.com"}, nil},
		{"forced, the same", authJSON(), "ws-1", login, nil},
		{"record", record, "", login, nil},
		{"record, forced", record, "ws-2", Account{WorkspaceID: "ws-2", UserID: "user-1", Email: "ada@example.com"}, nil},
		{"record, not the mode", `{"agent_identity":` + shapeC + `}`, "", Account{}, ErrNoLogin},
		{"no record", `{"auth_mode":"agentIdentity"}`, "", Account{}, ErrNoLogin},
		{"API key", authJSON(`"OPENAI_API_KEY":"sk-1"`), "", Account{}, ErrAPIKey},
		{"nothing", `{}`, "ws-1", Account{}, ErrNoLogin},
		{"no workspace", `{"tokens":{"access_token":"t"}}`, "", Account{}, ErrNoLogin},
		{"no workspace, forced", `{"tokens":{"access_token":"t"}}`, "ws-1", Account{WorkspaceID: "ws-1"}, nil},
	} {
		got, err := mustAuth(t, tt.raw).Account(tt.forced)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	a := mustAuth(t, `{"auth_mode":"agentIdentity","agent_identity":7}`)
	wantError(t, "agent_identity: expected object", func() error { _, err := a.Account(""); return err })
}

func TestBearer(t *testing.T) {
	placeholder, err := Placeholder(Account{WorkspaceID: "ws-1"}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	token, acct, err := mustAuth(t, authJSON()).Bearer("")
	if err != nil || token.Reveal() != "access-secret" || acct.WorkspaceID != "ws-1" || !acct.FedRAMP {
		t.Errorf("%q, %+v, %v", token.Reveal(), acct, err)
	}
	if _, _, err := mustAuth(t, authJSON()).Bearer("ws-1"); err != nil {
		t.Error(err)
	}
	if _, acct, err := mustAuth(t, `{"tokens":{"access_token":"t"}}`).Bearer(""); err != nil || acct != (Account{}) {
		t.Errorf("no workspace: %+v, %v", acct, err)
	}
	for _, tt := range []struct {
		raw, forced, text string
		is                error
	}{
		{authJSON(), "ws-2", `the access token belongs to another workspace: it is of "ws-1", wanted is "ws-2"`, ErrOtherWorkspace},
		{`{"tokens":{"access_token":"t"}}`, "ws-1", "another workspace", ErrOtherWorkspace},
		{authJSON(`"auth_mode":"apikey"`), "", "logged in with an API key", ErrAPIKey},
		{`{}`, "", "no tokens", ErrNoLogin},
		{`{"tokens":{"refresh_token":"t"}}`, "", "no access token", ErrNoLogin},
		{`{"auth_mode":"agentIdentity","agent_identity":` + shapeC + `}`, "", "no access token", ErrNoLogin},
		{string(placeholder), "", "placeholder", ErrPlaceholder},
		{`{"tokens":{"access_token":"a\r\nb"}}`, "", "tokens.access_token", nil},
		{`{"tokens":{"access_token":"a","account_id":"w\n"}}`, "", "tokens.account_id", nil},
	} {
		token, _, err := mustAuth(t, tt.raw).Bearer(tt.forced)
		wantError(t, tt.text, func() error { return err })
		if token != "" || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%q, %v", token.Reveal(), err)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	now := time.Date(2026, 4, 15, 0, 0, 0, 5, time.UTC)
	for _, want := range []Account{
		{"ws-1", "user-1", "ada@example.com", "pro", true},
		{WorkspaceID: "ws-1"},
	} {
		raw, err := Placeholder(want, now)
		if err != nil {
			t.Fatal(err)
		}
		a := mustAuth(t, string(raw))
		got, err := a.Account("")
		if err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
		if a.Mode != ModeChatGPT || !a.LastRefresh.Equal(now.Truncate(time.Second)) {
			t.Errorf("%+v", a)
		}
		exp, ok := TokenExpiry(a.Tokens.AccessToken.Reveal())
		if !ok || !exp.Equal(time.Date(2036, 4, 15, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("expires %v", exp)
		}
		for _, token := range []Secret{a.Tokens.IDToken, a.Tokens.AccessToken, a.Tokens.RefreshToken} {
			if !IsPlaceholder(token.Reveal()) {
				t.Errorf("%q is not recognised", token.Reveal())
			}
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil || string(members["OPENAI_API_KEY"]) != "null" {
			t.Errorf("%s, %v", raw, err)
		}
	}
	wantError(t, "no workspace", func() error { _, err := Placeholder(Account{}, now); return err })
	for _, token := range []string{"", "x", testJWT(`{}`), "agentproxy-placeholder.e30.sig"} {
		if IsPlaceholder(token) {
			t.Errorf("%q is taken for a placeholder", token)
		}
	}
}
