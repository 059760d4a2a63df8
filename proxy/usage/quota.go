package usage

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Quota is how much of an account's allowance is used up.
type Quota struct {
	// Primary is about the shorter of two windows of time, as a rule five hours, and
	// Secondary about the longer one, a week. nil: the server does not say.
	Primary, Secondary *Window
	// Credits says whether the account may go on by credits beyond them.
	Credits bool
}

// Window is a window of time in which an allowance is good.
type Window struct {
	UsedPercent float64       // from 0; may be more than 100
	Length      time.Duration // 0 if the server does not say
	ResetAt     time.Time     // when the allowance is whole again, zero if the server does not say
}

// ParseQuota reads the header fields X-Codex-Primary-Used-Percent,
// X-Codex-Primary-Window-Minutes and X-Codex-Primary-Reset-At, the same for
// Secondary, and X-Codex-Credits-Has-Credits and -Unlimited. Fields that make no
// sense count as absent. It reports whether there is anything about a window.
func ParseQuota(h http.Header) (q Quota, ok bool) {
	q.Primary = parseWindow(h, "X-Codex-Primary-Used-Percent", "X-Codex-Primary-Window-Minutes", "X-Codex-Primary-Reset-At")
	q.Secondary = parseWindow(h, "X-Codex-Secondary-Used-Percent", "X-Codex-Secondary-Window-Minutes", "X-Codex-Secondary-Reset-At")
	q.Credits = isTrue(h, "X-Codex-Credits-Has-Credits") || isTrue(h, "X-Codex-Credits-Unlimited")
	return q, q.Primary != nil || q.Secondary != nil
}

// ParseReport reads the answer of wham/usage, with which the backend says the same. It
// reports whether there is anything about a window.
func ParseReport(raw []byte) (q Quota, ok bool) {
	type window struct {
		UsedPercent *float64 `json:"used_percent"`
		Seconds     float64  `json:"limit_window_seconds"`
		ResetAt     float64  `json:"reset_at"`
	}
	var report struct {
		Limits struct {
			Primary   *window `json:"primary_window"`
			Secondary *window `json:"secondary_window"`
		} `json:"rate_limit"`
		Credits struct {
			Has       bool `json:"has_credits"`
			Unlimited bool `json:"unlimited"`
		} `json:"credits"`
	}
	if json.Unmarshal(raw, &report) != nil {
		return q, false
	}
	read := func(w *window) *Window {
		if w == nil || w.UsedPercent == nil || *w.UsedPercent < 0 || *w.UsedPercent > maxPercent {
			return nil
		}
		made := &Window{UsedPercent: *w.UsedPercent}
		if w.Seconds > 0 && w.Seconds <= maxMinutes*60 {
			made.Length = time.Duration(w.Seconds) * time.Second
		}
		if w.ResetAt > 0 && w.ResetAt <= maxSeconds {
			made.ResetAt = time.Unix(int64(w.ResetAt), 0).UTC()
		}
		return made
	}
	q = Quota{Primary: read(report.Limits.Primary), Secondary: read(report.Limits.Secondary), Credits: report.Credits.Has || report.Credits.Unlimited}
	return q, q.Primary != nil || q.Secondary != nil
}

// Limits on what makes sense.
const (
	maxPercent = 1000
	maxMinutes = 366 * 24 * 60
	maxSeconds = 253402300799 // the end of the year 9999
)

func parseWindow(h http.Header, used, minutes, reset string) *Window {
	percent, err := strconv.ParseFloat(first(h, used), 64)
	if err != nil || math.IsNaN(percent) || percent < 0 || percent > maxPercent {
		return nil
	}
	w := &Window{UsedPercent: percent}
	if n, err := strconv.ParseUint(first(h, minutes), 10, 32); err == nil && n <= maxMinutes {
		w.Length = time.Duration(n) * time.Minute
	}
	if n, err := strconv.ParseUint(first(h, reset), 10, 63); err == nil && n > 0 && n <= maxSeconds {
		w.ResetAt = time.Unix(int64(n), 0).UTC()
	}
	return w
}

func isTrue(h http.Header, name string) bool {
	yes, err := strconv.ParseBool(first(h, name))
	return err == nil && yes
}

// first returns the value of a field whose name is in canonical form.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// UsedUp returns the windows of which nothing is left.
func (q Quota) UsedUp() (windows []Window) {
	for _, w := range []*Window{q.Primary, q.Secondary} {
		if w != nil && w.UsedPercent >= 100 {
			windows = append(windows, *w)
		}
	}
	return windows
}
