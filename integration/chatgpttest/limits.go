package chatgpttest

import (
	"net/http"
	"slices"
	"strconv"
	"time"
)

// A limitWindow is how much of an account's allowance is used up.
type limitWindow struct {
	name        string
	length      time.Duration
	usedPercent int
	resetsIn    time.Duration
}

// SetUsedPercent changes how much of every account's allowance is used up, in the
// window of five hours and in that of a week. From 100 on POST codex/responses is
// answered with 429.
func (s *Server) SetUsedPercent(primary, secondary int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.usedPercent = [2]int{primary, secondary}
}

// limits are every account's.
func (s *Server) limits() []limitWindow {
	s.mu.Lock()
	used := s.state.usedPercent
	s.mu.Unlock()
	return []limitWindow{
		{"primary", 5 * time.Hour, used[0], time.Hour},
		{"secondary", 7 * 24 * time.Hour, used[1], 24 * time.Hour},
	}
}

// limitReached reports whether nothing is left in a window.
func (s *Server) limitReached() bool {
	return slices.ContainsFunc(s.limits(), func(l limitWindow) bool { return l.usedPercent >= 100 })
}

// writeLimits puts the account's limits into the headers of an answer to
// codex/responses.
func (s *Server) writeLimits(h http.Header, now time.Time) {
	for _, l := range s.limits() {
		prefix := "X-Codex-" + l.name
		h.Set(prefix+"-Used-Percent", strconv.Itoa(l.usedPercent))
		h.Set(prefix+"-Window-Minutes", strconv.Itoa(int(l.length.Minutes())))
		h.Set(prefix+"-Reset-At", strconv.FormatInt(now.Add(l.resetsIn).Unix(), 10))
	}
	h.Set("X-Codex-Credits-Has-Credits", "false")
	h.Set("X-Codex-Credits-Unlimited", "false")
}

// serveUsage answers GET wham/usage with the same limits.
func (s *Server) serveUsage(w http.ResponseWriter, _ *http.Request, x *exchange) {
	reached := s.limitReached()
	rate := map[string]any{"allowed": !reached, "limit_reached": reached}
	for _, l := range s.limits() {
		rate[l.name+"_window"] = map[string]any{
			"used_percent":         l.usedPercent,
			"limit_window_seconds": int(l.length.Seconds()),
			"reset_after_seconds":  int(l.resetsIn.Seconds()),
			"reset_at":             x.now.Add(l.resetsIn).Unix(),
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"plan_type":                s.accountOf(x.auth).PlanType,
		"rate_limit":               rate,
		"credits":                  map[string]any{"has_credits": false, "unlimited": false, "balance": nil},
		"rate_limit_reset_credits": map[string]any{"available_count": 0},
	})
}

// serveResetCredits answers GET wham/rate-limit-reset-credits: nobody has any.
func (s *Server) serveResetCredits(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"available_count": 0, "credits": []any{}})
}
