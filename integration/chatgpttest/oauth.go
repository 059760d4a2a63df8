package chatgpttest

import (
	"encoding/json"
	"net/http"
)

// oauthClientID is Codex's, the only client that auth.openai.com's stand-in knows.
const oauthClientID = "app_EMoamEEZ73f0CkXaXp7hrann"

// A refreshToken is good for one exchange.
type refreshToken struct {
	login   *Login
	used    bool
	refused string // the error code it is refused with, if any
}

// serveToken answers POST /oauth/token: JSON for a refresh, a form for the
// authorization code of a device.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, _ *exchange) {
	if r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" {
		s.exchangeDeviceGrant(w, r)
		return
	}
	var req struct {
		ClientID     string `json:"client_id"`
		GrantType    string `json:"grant_type"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	switch {
	case req.ClientID != oauthClientID:
		writeError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id")
		return
	case req.GrantType != "refresh_token":
		writeError(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type is not refresh_token")
		return
	}
	tokens, code := s.exchangeRefreshToken(req.RefreshToken)
	if code != "" {
		writeError(w, http.StatusUnauthorized, code, "Your refresh token cannot be used. Please log in again.")
		return
	}
	writeTokens(w, tokens)
}

func writeTokens(w http.ResponseWriter, tokens Tokens) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]any{
		"id_token":      tokens.IDToken,
		"access_token":  tokens.AccessToken,
		"refresh_token": tokens.RefreshToken,
		"token_type":    "Bearer",
	})
}

// exchangeRefreshToken returns new tokens for an unused refresh token, or the
// code of an error.
func (s *Server) exchangeRefreshToken(token string) (_ Tokens, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.state.refresh[token]
	switch {
	case t == nil:
		return Tokens{}, "refresh_token_invalidated"
	case t.used:
		s.state.stats.ReusedRefreshTokens++
		return Tokens{}, "refresh_token_reused"
	case t.refused != "":
		return Tokens{}, t.refused
	}
	t.used = true
	s.state.stats.Refreshes++
	return s.issue(t.login), ""
}

// serveRevoke answers POST /oauth/revoke, with which Codex logs out: the refresh
// token is of no use any more. Whether it was is not told (RFC 7009, 2.2).
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request, _ *exchange) {
	var req struct {
		Token    string `json:"token"`
		Hint     string `json:"token_type_hint"`
		ClientID string `json:"client_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	if req.ClientID != oauthClientID {
		writeError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id")
		return
	}
	s.mu.Lock()
	if t := s.state.refresh[req.Token]; t != nil {
		t.refused = "refresh_token_invalidated"
		s.state.stats.Revocations++
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}
