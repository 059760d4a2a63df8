package app

import (
	"sync"
	"time"

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
	a.usage.Log(e)
	a.options.Observer.Usage(e)
}

// UsageLost returns how many lines of the usage file could not be written.
func (a *App) UsageLost() int {
	if a.usage == nil {
		return 0
	}
	return a.usage.Lost()
}

// quotaWatch remembers of which windows it was said that nothing is left.
type quotaWatch struct {
	mu   sync.Mutex
	said map[string]time.Time // by profile, the end of the window
}

// first reports whether it was not said yet, of a profile, that nothing is left until
// a time.
func (w *quotaWatch) first(profile string, until time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if said, ok := w.said[profile]; ok && !until.After(said) {
		return false
	}
	if w.said == nil {
		w.said = make(map[string]time.Time)
	}
	w.said[profile] = until
	return true
}

// observeQuota tells once of each window of which nothing is left: whoever looks for
// the cause of a 429 is to find it.
func (a *App) observeQuota(profile string, status int, q usage.Quota) {
	a.options.Observer.Quota(profile, q)
	for _, window := range q.UsedUp() {
		if a.quotas.first(profile, window.ResetAt) {
			a.logInForce.Load().Warn().Str("profile", profile).Int("status", status).Float64("used_percent", window.UsedPercent).
				Time("until", window.ResetAt).Msg("the account's allowance at ChatGPT is used up: a 429 from there is the account's limit, and none of this proxy's")
		}
	}
}
