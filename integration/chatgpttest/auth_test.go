package chatgpttest

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

const echoURL = "https://chatgpt.com/backend-api/test/echo"

func TestVectors(t *testing.T) {
	s := newTestServer(t, Config{})
	for _, k := range vectors(t) {
		pub := pkcs8(t, k.PKCS8V1).Public().(ed25519.PublicKey)
		if got, err := parseOpenSSH(k.PublicKeySSH); err != nil || !got.Equal(pub) {
			t.Errorf("parseOpenSSH(%q) = %x, %v", k.PublicKeySSH, got, err)
		}
		for _, a := range k.Assertions {
			s.AddAgent(Account{}, a.RuntimeID, pub, a.TaskID)
			now := mustTime(t, a.Timestamp)
			s.SetNow(func() time.Time { return now.Add(maxSkew) })
			resp := do(t, s, "GET", echoURL, nil, "Authorization", a.Header)
			if resp.StatusCode != 200 {
				t.Errorf("%s:%s: %d %s", a.RuntimeID, a.TaskID, resp.StatusCode, resp.body)
			}
			got := lastRequest(t, s).Auth
			want := AuthResult{Scheme: "AgentAssertion", OK: true, AgentRuntimeID: a.RuntimeID, TaskID: a.TaskID, WorkspaceID: "account-123", UserID: "user-123"}
			if got != want {
				t.Errorf("%s: recorded %+v, want %+v", a.RuntimeID, got, want)
			}
		}
	}
}

// TestAssertionRefused has each reason for which an assertion is refused.
func TestAssertionRefused(t *testing.T) {
	now := time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)
	s := newTestServer(t, Config{Now: func() time.Time { return now }})
	key := addTestAgent(t, s, Account{}, "a", "t")
	other := addTestAgent(t, s, Account{}, "b", "t2")

	good := assertion(key, "a", "t", now)
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(good, "AgentAssertion "))
	if err != nil {
		t.Fatal(err)
	}
	edited := func(old, new string) string {
		json := strings.Replace(string(raw), old, new, 1)
		if json == string(raw) {
			t.Fatalf("no %q in %s", old, raw)
		}
		return "AgentAssertion " + base64.RawURLEncoding.EncodeToString([]byte(json))
	}
	badSig := "A" + base64.StdEncoding.EncodeToString(make([]byte, 64))[1:]

	tests := []struct {
		name, header, code, reason string
	}{
		{"nothing", "", "missing_authorization", "no Authorization"},
		{"scheme", "Basic eDp5", "invalid_authorization", `scheme "Basic"`},
		{"scheme's case", strings.Replace(good, "AgentA", "agenta", 1), "invalid_authorization", "scheme"},
		{"no credential", "AgentAssertion", "invalid_agent_assertion", "not a JSON object"},
		{"padding", "AgentAssertion e30=", "invalid_agent_assertion", "base64url"},
		{"standard alphabet", "AgentAssertion " + "/+/+", "invalid_agent_assertion", "base64url"},
		{"space", "AgentAssertion  " + good[15:], "invalid_agent_assertion", "base64url"},
		{"not JSON", edited(`{`, `[`), "invalid_agent_assertion", "not a JSON object"},
		{"two documents", edited(`Z"}`, `Z"}{}`), "invalid_agent_assertion", "followed"},
		{"unknown key", edited(`{`, `{"x":"y",`), "invalid_agent_assertion", `unknown key "x"`},
		{"key twice", edited(`{`, `{"task_id":"t",`), "invalid_agent_assertion", "twice"},
		{"no string", edited(`"t"`, `1`), "invalid_agent_assertion", "not a string"},
		{"key missing", edited(`"task_id":"t",`, ``), "invalid_agent_assertion", "lacks task_id"},
		{"empty value", edited(`"t"`, `""`), "invalid_agent_assertion", "task_id is empty"},
		{"not UTF-8", edited(`"t"`, "\"\xff\""), "invalid_agent_assertion", "UTF-8"},
		{"short signature", edited(`==","task`, `","task`), "invalid_agent_assertion", "base64"},
		{"agent", assertion(key, "c", "t", now), "unknown_agent", `"c"`},
		{"another's key", assertion(other, "a", "t", now), "invalid_signature", "not by the key"},
		{"signature for another task", edited(`"t"`, `"t2"`), "invalid_signature", "not by the key"},
		{"zero signature", edited(string(raw[strings.Index(string(raw), `ture":"`)+7:][:88]), badSig), "invalid_signature", "not by the key"},
		{"too old", assertion(key, "a", "t", now.Add(-maxSkew-time.Second)), "invalid_timestamp", "5m1s away"},
		{"too new", assertion(key, "a", "t", now.Add(maxSkew+time.Second)), "invalid_timestamp", "5m1s away"},
		{"task", assertion(key, "a", "t2", now), "unknown_task", `no task "t2"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var header []string
			if tt.header != "" {
				header = []string{"Authorization", tt.header}
			}
			resp := do(t, s, "GET", echoURL, nil, header...)
			if resp.StatusCode != 401 || resp.code(t) != tt.code {
				t.Errorf("%d %s, want 401 %s", resp.StatusCode, resp.body, tt.code)
			}
			r := lastRequest(t, s)
			if r.Auth.OK || !strings.Contains(r.Auth.Reason, tt.reason) || r.Status != 401 {
				t.Errorf("recorded %+v %d, want the reason %q", r.Auth, r.Status, tt.reason)
			}
		})
	}
	if resp := do(t, s, "GET", echoURL, nil, "Authorization", good); resp.StatusCode != 200 {
		t.Errorf("a good assertion: %d %s", resp.StatusCode, resp.body)
	}
	if got := s.Stats().Unauthorized; got != len(tests) {
		t.Errorf("Unauthorized = %d, want %d", got, len(tests))
	}
}

func TestTimestampForm(t *testing.T) {
	now := time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)
	for ts, ok := range map[string]bool{
		"2026-03-23T12:00:00Z":      true,
		"2026-03-23T12:05:00Z":      true,
		"2026-03-23T12:05:01Z":      false,
		"2026-03-23T12:00:00.5Z":    false,
		"2026-03-23T12:00:00+00:00": false,
		"2026-03-23T12:00:00z":      false,
		"2026-03-23 12:00:00Z":      false,
		"2026-3-23T12:00:00Z":       false,
		"":                          false,
	} {
		if err := checkTimestamp(ts, now); (err == nil) != ok {
			t.Errorf("checkTimestamp(%q) = %v", ts, err)
		}
	}
}

func TestCredentialHeaders(t *testing.T) {
	s := newTestServer(t, Config{})
	gov := Account{WorkspaceID: "gov", UserID: "u", FedRAMP: true}
	key := addTestAgent(t, s, Account{}, "a", "t")
	govKey := addTestAgent(t, s, gov, "g", "t")
	agent := assertion(key, "a", "t", time.Now())
	govAgent := assertion(govKey, "g", "t", time.Now())
	l := s.Login(Account{})
	bearer := "Bearer " + l.AccessToken
	tests := []struct {
		name   string
		header []string
		status int
		reason string
	}{
		{"bearer", []string{"Authorization", bearer}, 200, ""},
		{"bearer with its account", []string{"Authorization", bearer, "ChatGPT-Account-ID", "account-123"}, 200, ""},
		{"bearer with another account", []string{"Authorization", bearer, "ChatGPT-Account-ID", "x"}, 401, "not the credential's account"},
		{"bearer with two accounts", []string{"Authorization", bearer, "ChatGPT-Account-ID", "account-123", "ChatGPT-Account-ID", "account-123"}, 401, "not the credential's account"},
		{"unknown bearer", []string{"Authorization", "Bearer x"}, 401, "not known"},
		{"two credentials", []string{"Authorization", bearer, "Authorization", bearer}, 401, "2 Authorization headers"},
		{"assertion with account", []string{"Authorization", agent, "ChatGPT-Account-ID", "account-123"}, 400, "together with"},
		{"FedRAMP not said", []string{"Authorization", govAgent}, 401, "X-OpenAI-Fedramp is []"},
		{"FedRAMP false", []string{"Authorization", govAgent, "X-OpenAI-Fedramp", "false"}, 401, "X-OpenAI-Fedramp is"},
		{"FedRAMP", []string{"Authorization", govAgent, "X-OpenAI-Fedramp", "true"}, 200, ""},
		{"FedRAMP, but is not", []string{"Authorization", agent, "X-OpenAI-Fedramp", "true"}, 401, "not a FedRAMP account"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp := do(t, s, "GET", echoURL, nil, tt.header...)
			auth := lastRequest(t, s).Auth
			if resp.StatusCode != tt.status || !strings.Contains(auth.Reason, tt.reason) || auth.OK != (tt.status == 200) {
				t.Errorf("%d %+v, want %d and %q", resp.StatusCode, auth, tt.status, tt.reason)
			}
		})
	}
}

func TestAssertionWithAccountID(t *testing.T) {
	s := newTestServer(t, Config{AssertionWithAccountID: true})
	key := addTestAgent(t, s, Account{}, "a", "t")
	agent := assertion(key, "a", "t", time.Now())
	for id, want := range map[string]int{"account-123": 200, "x": 401} {
		if resp := do(t, s, "GET", echoURL, nil, "Authorization", agent, "ChatGPT-Account-ID", id); resp.StatusCode != want {
			t.Errorf("with account %s: %d, want %d", id, resp.StatusCode, want)
		}
	}
}

func TestWhereCredentialsAreAsked(t *testing.T) {
	s := newTestServer(t, Config{})
	key := addTestAgent(t, s, Account{}, "a", "t")
	agent := []string{"Authorization", assertion(key, "a", "t", time.Now())}
	bad := []string{"Authorization", "Bearer x"}
	tests := []struct {
		method, path string
		header       []string
		want         int
	}{
		{"GET", "/healthz", nil, 200},
		{"GET", "/backend-api/wham/agent-identities/jwks", nil, 200},
		{"GET", "/backend-api/nothing", nil, 401},
		{"GET", "/backend-api/nothing", agent, 404},
		{"GET", "/nothing", nil, 404},
		{"GET", "/backend-api", nil, 404},
		{"DELETE", "/backend-api/codex/models", agent, 405},
		{"GET", "/backend-api/plugins/export/curated", nil, 200},
		{"GET", "/backend-api/plugins/export/curated", agent, 200},
		{"GET", "/backend-api/codex/models", bad, 401},
		{"GET", "/backend-api//connectors/directory/list", agent, 200},
		{"GET", "/backend-api/authenticate_app_v2", agent, 401},
		{"POST", "/backend-api/v1/agent/register", agent, 401},
		{"POST", "/backend-api/v1/agent/a/task/register", agent, 401},
	}
	for _, tt := range tests {
		resp := do(t, s, tt.method, "https://chatgpt.com"+tt.path, nil, tt.header...)
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s %v: %d %s, want %d", tt.method, tt.path, tt.header, resp.StatusCode, resp.body, tt.want)
		}
		if tt.want >= 400 && resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %q", tt.method, tt.path, resp.Header.Get("Content-Type"))
		}
		if r := lastRequest(t, s); r.Host != "chatgpt.com" || r.TLSServerName != "chatgpt.com" || r.Status != tt.want {
			t.Errorf("%s %s: recorded %+v", tt.method, tt.path, r)
		}
	}
}

func TestForget(t *testing.T) {
	s := newTestServer(t, Config{})
	l := s.Login(Account{})
	id := s.RegisterIdentity(l)
	key := pkcs8(t, id.PrivateKeyPKCS8)
	ask := func(credential string) string {
		resp := do(t, s, "GET", echoURL, nil, "Authorization", credential)
		if resp.StatusCode == http.StatusOK {
			return ""
		}
		return resp.code(t)
	}
	agent := assertion(key, id.RuntimeID, id.TaskID, time.Now())
	bearer := "Bearer " + l.AccessToken
	if got := ask(agent) + ask(bearer); got != "" {
		t.Fatalf("before: %q", got)
	}
	s.ForgetTasks()
	if got := ask(agent); got != "unknown_task" {
		t.Errorf("after ForgetTasks: %q", got)
	}
	if !s.AddTask(id.RuntimeID, id.TaskID) || ask(agent) != "" {
		t.Error("AddTask did not make the task known")
	}
	s.ForgetAgents()
	if got := ask(agent); got != "unknown_agent" {
		t.Errorf("after ForgetAgents: %q", got)
	}
	s.SetClockOffset(s.Config.TokenLifetime)
	if got := ask(bearer); got != "token_expired" {
		t.Errorf("after its lifetime: %q", got)
	}
	s.ForgetAccessTokens()
	if got := ask(bearer); got != "token_invalidated" {
		t.Errorf("after ForgetAccessTokens: %q", got)
	}
}
