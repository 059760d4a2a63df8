package admin

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
	"github.com/agentproxy/agentproxy/proxy/usage"
)

// quotas remember what responses have said last of the limits of each profile's
// account.
type quotas struct {
	mu   sync.Mutex
	last map[string]usage.Quota // by profile
}

func (q *quotas) set(profile string, now usage.Quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last = make(map[string]usage.Quota)
	}
	q.last[profile] = now
}

// of returns the quota of a profile's account at a time, nil if nothing is known of it
// that still holds.
func (q *quotas) of(profile string, at time.Time) *quota {
	q.mu.Lock()
	last := q.last[profile]
	q.mu.Unlock()
	s := &quota{Primary: quotaOf(last.Primary, at), Secondary: quotaOf(last.Secondary, at), Credits: last.Credits}
	if s.Primary == nil && s.Secondary == nil {
		return nil
	}
	return s
}

// quota is how much of an account's allowance at ChatGPT is used up.
type quota struct {
	Primary   *quotaWindow `json:"primary,omitempty"`
	Secondary *quotaWindow `json:"secondary,omitempty"`
	Credits   bool         `json:"credits"` // the account may go on beyond it
}

// quotaWindow is a time for which an allowance is good.
type quotaWindow struct {
	UsedPercent float64    `json:"used_percent"`
	Minutes     int        `json:"window_minutes,omitempty"`
	ResetAt     *time.Time `json:"reset_at,omitempty"`
}

// quotaOf returns a window at a time, nil if it is over by then.
func quotaOf(w *usage.Window, at time.Time) *quotaWindow {
	if w == nil || !w.ResetAt.IsZero() && !at.Before(w.ResetAt) {
		return nil
	}
	s := &quotaWindow{UsedPercent: w.UsedPercent, Minutes: int(w.Length.Minutes())}
	if !w.ResetAt.IsZero() {
		s.ResetAt = &w.ResetAt
	}
	return s
}

// windows returns the windows by the names that metrics have for them.
func (q *quota) windows() map[string]*quotaWindow {
	all := make(map[string]*quotaWindow)
	if q != nil && q.Primary != nil {
		all["primary"] = q.Primary
	}
	if q != nil && q.Secondary != nil {
		all["secondary"] = q.Secondary
	}
	return all
}

// String returns how much is used, as in "12% of 5 h, 34% of 7 d", "" if nothing is
// known.
func (q *quota) String() string {
	if q == nil {
		return ""
	}
	var words []string
	for _, w := range []*quotaWindow{q.Primary, q.Secondary} {
		if w == nil {
			continue
		}
		word := fmt.Sprintf("%.0f%%", w.UsedPercent)
		if w.Minutes > 0 {
			word += " of " + logline.Roughly(time.Duration(w.Minutes)*time.Minute)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// UsedUp reports whether nothing is left of a window.
func (q *quota) UsedUp() bool {
	for _, w := range q.windows() {
		if w.UsedPercent >= 100 {
			return true
		}
	}
	return false
}
