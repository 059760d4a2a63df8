package chatgpttest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const tokenURL = "https://auth.openai.com/oauth/token"

func refreshBody(token string) []byte {
	return encodeJSON(map[string]string{"client_id": oauthClientID, "grant_type": "refresh_token", "refresh_token": token})
}

func TestRefreshTokens(t *testing.T) {
	s := newTestServer(t, Config{TokenLifetime: -time.Hour})
	l := s.Login(Account{})
	if resp := do(t, s, "GET", echoURL, nil, "Authorization", "Bearer "+l.AccessToken); resp.StatusCode != 401 || resp.code(t) != "token_expired" {
		t.Errorf("with an expired token: %d %s", resp.StatusCode, resp.body)
	}
	s.SetTokenLifetime(time.Hour)
	var got struct {
		ID      string `json:"id_token"`
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	resp := do(t, s, "POST", tokenURL, refreshBody(l.RefreshToken))
	if err := json.Unmarshal(resp.body, &got); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}
	if want := l.Current(); got.ID != want.IDToken || got.Access != want.AccessToken || got.Refresh != want.RefreshToken || got.Refresh == l.RefreshToken {
		t.Errorf("got %+v, Current is %+v", got, want)
	}
	if resp := do(t, s, "GET", echoURL, nil, "Authorization", "Bearer "+got.Access); resp.StatusCode != 200 {
		t.Errorf("with the new token: %d %s", resp.StatusCode, resp.body)
	}
	refused := func(name string, body []byte, status int, code string) {
		t.Helper()
		if resp := do(t, s, "POST", tokenURL, body); resp.StatusCode != status || resp.code(t) != code {
			t.Errorf("%s: %d %s, want %d %s", name, resp.StatusCode, resp.body, status, code)
		}
	}
	refused("used", refreshBody(l.RefreshToken), 401, "refresh_token_reused")
	refused("unknown", refreshBody("x"), 401, "refresh_token_invalidated")
	refused("another client", []byte(`{"client_id":"x","grant_type":"refresh_token"}`), 401, "invalid_client")
	refused("not JSON", []byte(`grant_type=refresh_token`), 400, "invalid_request")
	s.ExpireRefreshTokens()
	refused("expired", refreshBody(got.Refresh), 401, "refresh_token_expired")
	s.RevokeRefreshTokens()
	refused("revoked", refreshBody(got.Refresh), 401, "refresh_token_invalidated")
	if st := s.Stats(); st.Refreshes != 1 || st.ReusedRefreshTokens != 1 {
		t.Errorf("%+v", st)
	}
}

func TestAuthJSON(t *testing.T) {
	s := newTestServer(t, Config{})
	l := s.Login(Account{WorkspaceID: "w", UserID: "u", FedRAMP: true})
	parse := func(b []byte) (doc struct {
		Mode   string            `json:"auth_mode"`
		Tokens map[string]string `json:"tokens"`
		Agent  json.RawMessage   `json:"agent_identity"`
	}) {
		t.Helper()
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return doc
	}
	doc := parse(l.AuthJSON())
	if doc.Mode != "chatgpt" || doc.Tokens["account_id"] != "w" || doc.Tokens["refresh_token"] != l.RefreshToken || doc.Agent != nil {
		t.Errorf("%+v", doc)
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(doc.Tokens["id_token"], ".")[1])
	if err != nil || !strings.Contains(string(claims), `"chatgpt_account_is_fedramp":true`) {
		t.Errorf("claims %s, %v", claims, err)
	}
	for shape, has := range map[string]string{"A": `"background_task_id":`, "B": `"ey`, "C": `"account_id":`} {
		doc := parse(l.AuthJSONWithIdentity(shape))
		if !strings.Contains(string(doc.Agent), has) || len(doc.Tokens) != 4 {
			t.Errorf("shape %s: %+v", shape, doc)
		}
		if shape != "B" && !strings.Contains(string(doc.Agent), l.Identity().RuntimeID) {
			t.Errorf("shape %s is not of %s", shape, l.Identity().RuntimeID)
		}
	}
	if doc := parse(l.AgentAuthJSON("C")); doc.Mode != "agentIdentity" || doc.Tokens != nil {
		t.Errorf("%+v", doc)
	}
}
