package proxy

import (
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// strangerInterval is how often such refusals are summed up.
const strangerInterval = time.Second

// strangers keep clients that are not let in, or ask for more than they may, from
// filling the logs. The first refusal with a code is written down like any other. Those
// that follow are counted, and a line sums them up every second until no more come.
type strangers struct{ *track.Tally[strangerKind] }

// strangerKind is what refusals are counted by.
type strangerKind struct {
	code      string
	challenge bool   // nothing that anybody has to see to
	limited   bool   // the client was let in, and has sent too much
	label     string // of a limited client
}

// newStrangers returns strangers of a proxy whose policy in force policy returns.
func newStrangers(policy func() *policy, interval time.Duration) strangers {
	return strangers{track.NewTally(interval, func(kind strangerKind, times int) {
		pol := policy()
		event := pol.Log.Warn()
		if kind.challenge {
			event = pol.Log.Debug()
		}
		what := "more clients that were not let in"
		if kind.limited {
			event.Str("client", kind.label)
			what = "more requests of a client that is over its limit"
		}
		event.Str("refused", kind.code).Int("times", times).Msg(what)
		if pol.Audit != nil {
			// Nothing depends on it: what was refused stays refused.
			_ = pol.Audit.Audit(audit.Decision{Time: time.Now(), Verdict: audit.VerdictRefuse, Client: kind.label, Refused: kind.code, Times: times})
		}
	})}
}

// first counts a refusal. It reports whether it is to be written down by itself.
func (s strangers) first(r *refuse.Refusal) bool {
	return s.First(strangerKind{code: r.Code, challenge: r.Challenge})
}

// firstOf is first for a refusal of x, which is written down in any case unless its client
// was not let in or has sent too much.
func (s strangers) firstOf(x *exchange, r *refuse.Refusal) bool {
	switch {
	case x.stranger:
		return s.first(r)
	case r.Status == http.StatusTooManyRequests:
		return s.First(strangerKind{code: r.Code, limited: true, label: x.label})
	}
	return true
}
