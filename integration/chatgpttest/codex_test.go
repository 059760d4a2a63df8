package chatgpttest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAccountEndpoints has what Codex asks for about an account, with both kinds
// of credential. That Codex is content with the answers is for the tests with
// Codex.
func TestAccountEndpoints(t *testing.T) {
	at := time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)
	s := newTestServer(t, Config{Now: func() time.Time { return at }, Origin: "https://gov.chatgpt.com"})
	key := addTestAgent(t, s, Account{}, "a", "t")
	for _, credential := range []string{assertion(key, "a", "t", at), "Bearer " + s.Login(Account{}).AccessToken} {
		for path, want := range map[string]string{
			"/wham/accounts/check": `{"accounts":[{"id":"account-123","workspace_backend_origin":"https://gov.chatgpt.com","account_routing_override":"NO_CONSTRAINT"}],` +
				`"default_account_id":"account-123","account_ordering":["account-123"]}`,
			"/wham/usage":                      `"reset_at":1774270800`,
			"/wham/rate-limit-reset-credits":   `{"available_count":0,"credits":[]}`,
			"/wham/profiles/me":                `"start_date":"2026-03-23"`,
			"/wham/security-setup":             `{"notice":null}`,
			"/wham/workspace-messages":         `{"messages":[]}`,
			"/wham/config/bundle":              `"requirements_toml"`,
			"/wham/tasks/list?limit=20":        CloudTask,
			"/wham/environments":               `[]`,
			"/wham/settings/user":              `{}`,
			"/ps/plugins/tooling-state/turtle": `"tooling_changed_at"`,
			"/ps/plugins/suggested":            `"plugins":[]`,
			"/connectors/directory/list":       `"apps":[]`,
		} {
			resp := do(t, s, "GET", backend+path, nil, "Authorization", credential)
			if resp.StatusCode != 200 || !strings.Contains(string(resp.body), want) {
				t.Errorf("%s: %d %s, want %s", path, resp.StatusCode, resp.body, want)
			}
			if resp := do(t, s, "GET", backend+path, nil); resp.StatusCode != 401 {
				t.Errorf("%s without a credential: %d", path, resp.StatusCode)
			}
		}
		resp := do(t, s, "POST", backend+"/codex/responses", []byte(`{"model":"m","input":[]}`), "Authorization", credential)
		for name, want := range map[string]string{
			"x-codex-primary-used-percent": "12", "x-codex-primary-window-minutes": "300", "x-codex-primary-reset-at": "1774270800",
			"x-codex-secondary-used-percent": "34", "x-codex-secondary-window-minutes": "10080",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
}

// TestWorkspaceToken has an access token of a workspace, and says whose it is.
func TestWorkspaceToken(t *testing.T) {
	s := newTestServer(t, Config{})
	token := s.WorkspaceToken(Account{WorkspaceID: "gov", UserID: "u", FedRAMP: true})
	if !strings.HasPrefix(token, "at-") {
		t.Errorf("the token is %q", token)
	}
	const whoami = accounts + "/v1/user-auth-credential/whoami"
	ask := func(token string) answer { return do(t, s, "GET", whoami, nil, "Authorization", "Bearer "+token) }
	const want = `{"chatgpt_account_id":"gov","chatgpt_account_is_fedramp":true,"chatgpt_plan_type":"pro","chatgpt_user_id":"u","email":"user@example.com"}` + "\n"
	if resp := ask(token); resp.StatusCode != 200 || string(resp.body) != want {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
	if resp := ask(s.Login(Account{}).AccessToken); resp.StatusCode != 401 {
		t.Errorf("a log-in's token: %d", resp.StatusCode)
	}
	if resp := ask("at-x"); resp.StatusCode != 401 {
		t.Errorf("an unknown token: %d", resp.StatusCode)
	}
	use := []string{"Authorization", "Bearer " + token, "ChatGPT-Account-ID", "gov", "X-OpenAI-Fedramp", "true"}
	s.SetClockOffset(10 * 365 * 24 * time.Hour)
	if resp := do(t, s, "GET", echoURL, nil, use...); resp.StatusCode != 200 {
		t.Errorf("for a request: %d %s", resp.StatusCode, resp.body)
	}
	s.ForgetAccessTokens()
	if resp := do(t, s, "GET", echoURL, nil, use...); resp.StatusCode != 401 || ask(token).StatusCode != 401 {
		t.Errorf("after it was revoked: %d", resp.StatusCode)
	}
}

// TestTelemetry has what ab.chatgpt.com takes.
func TestTelemetry(t *testing.T) {
	s := newTestServer(t, Config{})
	const url = "https://ab.chatgpt.com/otlp/v1/metrics"
	key := []string{"Statsig-Api-Key", "client-x"}
	for _, tt := range []struct {
		body     string
		header   []string
		want     int
		unwanted int
	}{
		{`{"resourceMetrics":[]}`, key, 200, 0},
		{`{"resourceMetrics":[]}`, nil, 401, 0},
		{`x`, key, 400, 0},
		{`{}`, append(key, "Authorization", "Bearer x"), 200, 1},
		{`{}`, append(key, "ChatGPT-Account-ID", "account-123"), 200, 1},
	} {
		before := len(s.Unwanted())
		resp := do(t, s, "POST", url, []byte(tt.body), tt.header...)
		if got := len(s.Unwanted()) - before; resp.StatusCode != tt.want || got != tt.unwanted {
			t.Errorf("%s %q: %d, %d credentials noted; want %d, %d", tt.body, tt.header, resp.StatusCode, got, tt.want, tt.unwanted)
		}
	}
}

// TestTokenRefusals has each kind told apart as Codex tells them.
func TestTokenRefusals(t *testing.T) {
	s := newTestServer(t, Config{})
	body := []byte(`{"client_id":"` + oauthClientID + `","grant_type":"refresh_token","refresh_token":"` + s.Login(Account{}).RefreshToken + `"}`)
	refresh := func() answer { return do(t, s, "POST", "https://auth.openai.com/oauth/token", body) }
	kinds := TokenRefusals()
	if len(kinds) != 12 {
		t.Errorf("%d kinds", len(kinds))
	}
	for _, r := range kinds {
		stop := s.RefuseRefreshes(r)
		resp := refresh()
		stop()
		if resp.StatusCode != r.Status || string(resp.body) != r.Body || resp.Header.Get("Content-Type") != r.Header.Get("Content-Type") {
			t.Errorf("%s: %d %s", r.Name, resp.StatusCode, resp.body)
		}
		if r.Final != (r.Status == http.StatusUnauthorized || r.Status == http.StatusBadRequest) {
			t.Errorf("%s: final %t with status %d", r.Name, r.Final, r.Status)
		}
	}
	if resp := refresh(); resp.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", resp.StatusCode, resp.body)
	}
}

// TestRevoke logs out.
func TestRevoke(t *testing.T) {
	s := newTestServer(t, Config{})
	token := s.Login(Account{}).RefreshToken
	revoke := []byte(`{"token":"` + token + `","token_type_hint":"refresh_token","client_id":"` + oauthClientID + `"}`)
	if resp := do(t, s, "POST", "https://auth.openai.com/oauth/revoke", revoke); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
	refresh := []byte(`{"client_id":"` + oauthClientID + `","grant_type":"refresh_token","refresh_token":"` + token + `"}`)
	if resp := do(t, s, "POST", "https://auth.openai.com/oauth/token", refresh); resp.StatusCode != 401 || resp.code(t) != "refresh_token_invalidated" {
		t.Errorf("a refresh after it: %d %s", resp.StatusCode, resp.body)
	}
}
