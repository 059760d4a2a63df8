package chatgpttest

import "net/http"

// serveAccountsCheck answers GET wham/accounts/check. Codex takes the account's
// requests to the origin that it names.
func (s *Server) serveAccountsCheck(w http.ResponseWriter, _ *http.Request, x *exchange) {
	type account struct {
		ID       string `json:"id"`
		Origin   string `json:"workspace_backend_origin"`
		Override string `json:"account_routing_override"`
	}
	id := s.accountOf(x.auth).WorkspaceID
	writeJSON(w, http.StatusOK, struct {
		Accounts []account `json:"accounts"`
		Default  string    `json:"default_account_id"`
		Ordering []string  `json:"account_ordering"`
	}{[]account{{id, s.Config.Origin, "NO_CONSTRAINT"}}, id, []string{id}})
}

func (s *Server) serveUserSettings(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{})
}

// serveProfile answers GET wham/profiles/me, what the account has used so far.
func (s *Server) serveProfile(w http.ResponseWriter, _ *http.Request, x *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{
		"profile": map[string]any{"username": nil, "display_name": s.accountOf(x.auth).Email},
		"stats": map[string]any{
			"lifetime_tokens": 2, "peak_daily_tokens": 2, "longest_running_turn_sec": 1,
			"current_streak_days": 1, "longest_streak_days": 1,
			"daily_usage_buckets": []any{map[string]any{"start_date": x.now.UTC().Format("2006-01-02"), "tokens": 2}},
		},
		"metadata": map[string]any{"stats_error": nil},
	})
}

// serveSecuritySetup answers GET wham/security-setup: nothing is left to be set up.
func (s *Server) serveSecuritySetup(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"notice": nil})
}

func (s *Server) serveWorkspaceMessages(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"messages": []any{}})
}

// serveConfigBundle answers GET wham/config/bundle, which Codex asks for in the
// name of businesses: the workspace prescribes nothing.
func (s *Server) serveConfigBundle(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	none := map[string]any{"enterprise_managed": []any{}}
	writeJSON(w, http.StatusOK, map[string]any{"config_toml": none, "requirements_toml": none})
}
