package app

import (
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/usage"
)

// usageFile is a usage file that apps which follow one another share while its path is
// the same.
type usageFile struct {
	*usage.File
	path  string
	users users
}

// openUsage opens the usage file, if one is configured. former, the app before this
// one, may have it open already; nil if there was none.
func (a *App) openUsage(former *App) error {
	path := a.Config.Usage.File
	if path == "" {
		return nil
	}
	if former != nil && former.usage != nil && former.usage.path == path {
		a.usage = former.usage
		a.usage.users.join()
		return nil
	}
	file, err := usage.OpenFile(path, func(err error) {
		log := a.logInForce.Load()
		if err != nil {
			contain.Tell(a.logPanic, err)
			log.Warn().AnErr("error", err).Msg("the usage file cannot be written; what is not written is counted")
			return
		}
		log.Info().Msg("the usage file can be written again")
	})
	if err != nil {
		return err
	}
	a.usage = &usageFile{File: file, path: path}
	a.usage.users.join()
	return nil
}

func (a *App) observeUsage(e usage.Entry) {
	a.options.Observer.Usage(e) // so that whoever finds the line finds it counted
	a.usage.Log(e)
}

// UsageLost returns how many lines of the usage file could not be written.
func (a *App) UsageLost() int {
	if a.usage == nil {
		return 0
	}
	return a.usage.Lost()
}

const (
	// quotaInterval is how often it is said at most that nothing is left of an allowance,
	// however the backend moves the time until which.
	quotaInterval = time.Minute
	// quotaUnknown is how long that holds if the backend does not say.
	quotaUnknown = time.Hour
)

// quotaWatch remembers of which windows it was said that nothing is left.
type quotaWatch struct {
	mu   sync.Mutex
	said map[string]quotaSaid // by profile
}

type quotaSaid struct{ until, at time.Time }

// first reports whether it is to be said, of a profile, that nothing is left until a time,
// which may be past or zero if the backend does not know it.
func (w *quotaWatch) first(profile string, until, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := until.After(now)
	if !known {
		until = now.Add(quotaUnknown)
	}
	said, ok := w.said[profile]
	later := known && until.After(said.until)
	if ok && (now.Sub(said.at).Abs() < quotaInterval || now.Before(said.until) && !later) {
		return false
	}
	if w.said == nil {
		w.said = make(map[string]quotaSaid)
	}
	w.said[profile] = quotaSaid{until, now}
	return true
}

// observeQuota tells once of each time in which nothing is left: whoever looks for the
// cause of a 429 is to find it.
func (a *App) observeQuota(profile string, status int, q usage.Quota) {
	a.options.Observer.Quota(profile, q)
	windows := q.UsedUp()
	if len(windows) == 0 {
		return
	}
	last := slices.MaxFunc(windows, func(x, y usage.Window) int { return x.ResetAt.Compare(y.ResetAt) })
	if !a.quotas.first(profile, last.ResetAt, a.Now()) {
		return
	}
	event := a.logInForce.Load().Warn().Str("profile", profile).Int("status", status).Float64("used_percent", last.UsedPercent)
	if !last.ResetAt.IsZero() {
		event.Time("until", last.ResetAt)
	}
	event.Msg("the account's allowance at ChatGPT is used up: a 429 from there is the account's limit, and none of this proxy's")
}
