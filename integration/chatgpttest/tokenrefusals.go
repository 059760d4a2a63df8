package chatgpttest

import "net/http"

// A TokenRefusal is a way in which the token endpoint was seen to refuse a refresh
// token.
type TokenRefusal struct {
	Name   string
	Status int
	Body   string
	Header http.Header
	// Final says that Codex takes the log-in to have ended: it does not ask again
	// and tells the user to log in. Otherwise it asks again later.
	Final bool
}

// TokenRefusals returns all kinds. Final are all answers of 401, and of 400 with a
// code that names the end of a grant.
func TokenRefusals() []TokenRefusal {
	json := func(name string, status int, body string, final bool) TokenRefusal {
		return TokenRefusal{name, status, body, http.Header{"Content-Type": {"application/json"}}, final}
	}
	html := func(name string, status int, body string) TokenRefusal {
		return TokenRefusal{name, status, body, http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, false}
	}
	limited := json("rate_limited", 429, `{"error":{"code":"rate_limit_exceeded"}}`, false)
	limited.Header.Set("Retry-After", "30")
	return []TokenRefusal{
		json("refresh_token_reused", 401, `{"error":{"message":"Your refresh token has already been used","type":"invalid_request_error","param":null,"code":"refresh_token_reused"}}`, true),
		json("token_invalidated", 401, `{"error":{"code":"token_invalidated","message":"invalidated"}}`, true),
		json("token_expired", 401, `{"error":{"message":"Could not validate your token. Please try signing in again.","type":"invalid_request_error","code":"token_expired"}}`, true),
		json("invalid_refresh_token", 401, `{"error":{"code":"invalid_refresh_token","message":"x"}}`, true),
		json("app_session_terminated", 401, `{"error":{"code":"app_session_terminated","message":"x"}}`, true),
		json("unauthorized without a code", 401, `{"detail":"Unauthorized"}`, true),
		json("invalid_grant", 400, `{"error":"invalid_grant","error_description":"x"}`, true),
		json("app_session_expired", 400, `{"error":{"code":"app_session_expired","message":"x"}}`, true),
		json("unsupported region", 403, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}`, false),
		html("challenge", 403, "<html>Just a moment...</html>"),
		limited,
		html("unavailable", 503, "<html>"),
	}
}

// RefuseRefreshes has the token endpoint answer every refresh with r, until clear
// is called.
func (s *Server) RefuseRefreshes(r TokenRefusal) (clear func()) {
	return s.Inject(Fault{Path: "/oauth/token", Status: r.Status, Body: r.Body, Header: r.Header})
}
