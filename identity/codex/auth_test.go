package codex

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func mustAuth(t testing.TB, raw string) *Auth {
	t.Helper()
	a, err := ParseAuth([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAuth(t *testing.T) {
	got := mustAuth(t, identitytest.AuthJSON(`"last_refresh":"2026-04-15T01:02:03.456Z"`, `"agent_identity":`+identitytest.RecordA, `"unknown":[[]]`))
	want := &Auth{
		Mode: ModeChatGPT,
		Tokens: &Tokens{
			IDToken: identity.Secret(identitytest.JWT(identitytest.Claims)), AccessToken: "access-secret", RefreshToken: "refresh-secret", AccountID: "ws-1",
			Claims: identity.Claims{Account: identity.Account{UserID: "user-1", WorkspaceID: "ws-1", PlanType: "pro", Email: "ada@example.com", FedRAMP: true}, Expiry: time.Unix(1900000000, 0).UTC()},
		},
		LastRefresh: time.Date(2026, 4, 15, 1, 2, 3, 456e6, time.UTC),
		Record: &identity.Record{WorkspaceID: "ws-1", UserID: "user-1", AgentRuntimeID: "agent-1", PrivateKey: identitytest.PrivateKey,
			RegisteredAt: "2026-04-15T00:00:00Z", TaskID: "task-1", Shape: identity.ShapeA},
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("", identity.Secret.Reveal)); diff != "" {
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
		identitytest.WantError(t, tt.text, func() error { return err })
		if _, ok := errors.AsType[*identity.FileError](err); !ok {
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
		{`"` + identitytest.JWT(`{"agent_runtime_id":7}`) + `"`, "agent_identity: claims.account_id: missing"},
		{strings.Replace(identitytest.RecordA, `"agent-1"`, `["agent-1"]`, 1), "agent_identity.agent_runtime_id: expected string"},
		{strings.Replace(identitytest.RecordC, `true`, `"true"`, 1), "agent_identity.chatgpt_account_is_fedramp: expected true or false"},
		{strings.Replace(identitytest.RecordC, `"account_id":"ws-1"`, `"account_id":"ws-2"`, 1), "agent_identity.account_id: names another account than workspace_id"},
	} {
		a := mustAuth(t, identitytest.AuthJSON("\n\"agent_identity\":"+tt.record))
		if a.Tokens == nil || a.Record != nil {
			t.Errorf("%s: %+v", tt.record, a)
		}
		identitytest.WantError(t, tt.text, func() error { return a.RecordErr })
	}
}

func TestAccount(t *testing.T) {
	login := identity.Account{WorkspaceID: "ws-1", UserID: "user-1", Email: "ada@example.com", PlanType: "pro", FedRAMP: true}
	withoutAccount := strings.Replace(identitytest.AuthJSON(), `"account_id":"ws-1"`, `"account_id":""`, 1)
	record := `{"auth_mode":"agentIdentity","agent_identity":` + identitytest.RecordC + `}`
	for _, tt := range []struct {
		name, raw, forced string
		want              identity.Account
		err               error
	}{
		{"tokens", identitytest.AuthJSON(), "", login, nil},
		{"tokens before claims", strings.Replace(identitytest.AuthJSON(), `"account_id":"ws-1"`, `"account_id":"ws-9"`, 1), "",
			identity.Account{WorkspaceID: "ws-9", UserID: "user-1", Email: "ada@example.com", PlanType: "pro", FedRAMP: true}, nil},
		{"claims", withoutAccount, "", login, nil},
		{"forced", identitytest.AuthJSON(), "ws-2", identity.Account{WorkspaceID: "ws-2", UserID: "user-1", Email: "ada@example.com"}, nil},
		{"forced, the same", identitytest.AuthJSON(), "ws-1", login, nil},
		{"record", record, "", login, nil},
		{"record, forced", record, "ws-2", identity.Account{WorkspaceID: "ws-2", UserID: "user-1", Email: "ada@example.com"}, nil},
		{"record, not the mode", `{"agent_identity":` + identitytest.RecordC + `}`, "", identity.Account{}, identity.ErrNoLogin},
		{"no record", `{"auth_mode":"agentIdentity"}`, "", identity.Account{}, identity.ErrNoLogin},
		{"API key", identitytest.AuthJSON(`"OPENAI_API_KEY":"sk-1"`), "", identity.Account{}, identity.ErrAPIKey},
		{"nothing", `{}`, "ws-1", identity.Account{}, identity.ErrNoLogin},
		{"no workspace", `{"tokens":{"access_token":"t"}}`, "", identity.Account{}, identity.ErrNoLogin},
		{"no workspace, forced", `{"tokens":{"access_token":"t"}}`, "ws-1", identity.Account{WorkspaceID: "ws-1"}, nil},
	} {
		got, err := mustAuth(t, tt.raw).Account(tt.forced)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	a := mustAuth(t, `{"auth_mode":"agentIdentity","agent_identity":7}`)
	identitytest.WantError(t, "agent_identity: expected object", func() error { _, err := a.Account(""); return err })
}

func TestBearer(t *testing.T) {
	placeholder, err := Placeholder(identity.Account{WorkspaceID: "ws-1"}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	token, acct, err := mustAuth(t, identitytest.AuthJSON()).Bearer("")
	if err != nil || token.Reveal() != "access-secret" || acct.WorkspaceID != "ws-1" || !acct.FedRAMP {
		t.Errorf("%q, %+v, %v", token.Reveal(), acct, err)
	}
	if _, _, err := mustAuth(t, identitytest.AuthJSON()).Bearer("ws-1"); err != nil {
		t.Error(err)
	}
	if _, acct, err := mustAuth(t, `{"tokens":{"access_token":"t"}}`).Bearer(""); err != nil || acct != (identity.Account{}) {
		t.Errorf("no workspace: %+v, %v", acct, err)
	}
	for _, tt := range []struct {
		raw, forced, text string
		is                error
	}{
		{identitytest.AuthJSON(), "ws-2", `the access token belongs to another workspace: it is of "ws-1", wanted is "ws-2"`, identity.ErrOtherWorkspace},
		{`{"tokens":{"access_token":"t"}}`, "ws-1", "another workspace", identity.ErrOtherWorkspace},
		{identitytest.AuthJSON(`"auth_mode":"apikey"`), "", "logged in with an API key", identity.ErrAPIKey},
		{`{}`, "", "no tokens", identity.ErrNoLogin},
		{`{"tokens":{"refresh_token":"t"}}`, "", "no access token", identity.ErrNoLogin},
		{`{"auth_mode":"agentIdentity","agent_identity":` + identitytest.RecordC + `}`, "", "no access token", identity.ErrNoLogin},
		{string(placeholder), "", "placeholder", identity.ErrPlaceholder},
		{`{"tokens":{"access_token":"a\r\nb"}}`, "", "tokens.access_token", nil},
		{`{"tokens":{"access_token":"a","account_id":"w\n"}}`, "", "tokens.account_id", nil},
	} {
		token, _, err := mustAuth(t, tt.raw).Bearer(tt.forced)
		identitytest.WantError(t, tt.text, func() error { return err })
		if token != "" || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%q, %v", token.Reveal(), err)
		}
	}
}

func TestPlaceholder(t *testing.T) {
	now := time.Date(2026, 4, 15, 0, 0, 0, 5, time.UTC)
	for _, want := range []identity.Account{
		{WorkspaceID: "ws-1", UserID: "user-1", Email: "ada@example.com", PlanType: "pro", FedRAMP: true},
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
		exp, ok := identity.TokenExpiry(a.Tokens.AccessToken.Reveal())
		if !ok || !exp.Equal(time.Date(2036, 4, 15, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("expires %v", exp)
		}
		for _, token := range []identity.Secret{a.Tokens.IDToken, a.Tokens.AccessToken, a.Tokens.RefreshToken} {
			if !identity.IsPlaceholder(token.Reveal()) {
				t.Errorf("%q is not recognised", token.Reveal())
			}
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil || string(members["OPENAI_API_KEY"]) != "null" {
			t.Errorf("%s, %v", raw, err)
		}
	}
	identitytest.WantError(t, "no workspace", func() error { _, err := Placeholder(identity.Account{}, now); return err })
	for _, token := range []string{"", "x", identitytest.JWT(`{}`), "agentproxy-placeholder.e30.sig"} {
		if identity.IsPlaceholder(token) {
			t.Errorf("%q is taken for a placeholder", token)
		}
	}
}
