package chatgpttest

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// workspaceTokenPrefix is what access tokens of workspaces begin with.
const workspaceTokenPrefix = "at-"

// WorkspaceToken issues an access token of the account's workspace, as an
// administrator makes one. It is opaque, does not expire and cannot be refreshed;
// [Server.ForgetAccessTokens] ends it.
func (s *Server) WorkspaceToken(a Account) string {
	a = *s.AddAccount(a)
	token := workspaceTokenPrefix + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.access[token] = &accessToken{account: a}
	return token
}

// WorkspaceAuthJSON returns the auth.json that codex login --with-access-token
// writes. It names no auth_mode.
func WorkspaceAuthJSON(token string) []byte {
	return append(encodeJSON(map[string]any{"OPENAI_API_KEY": nil, "personal_access_token": token}), '\n')
}

// serveWhoami answers GET api/accounts/v1/user-auth-credential/whoami, which says
// whose a workspace's access token is.
func (s *Server) serveWhoami(w http.ResponseWriter, r *http.Request, x *exchange) {
	if token := strings.TrimPrefix(r.Header.Get("Authorization"), SchemeBearer+" "); !strings.HasPrefix(token, workspaceTokenPrefix) {
		s.refuse(w, x, x.auth, &refusal{http.StatusUnauthorized, "invalid_credential", "not an access token of a workspace"})
		return
	}
	a := s.accountOf(x.auth)
	writeJSON(w, http.StatusOK, map[string]any{
		"email":                      a.Email,
		"chatgpt_user_id":            a.UserID,
		"chatgpt_account_id":         a.WorkspaceID,
		"chatgpt_plan_type":          a.PlanType,
		"chatgpt_account_is_fedramp": a.FedRAMP,
	})
}
