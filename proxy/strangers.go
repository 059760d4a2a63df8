package proxy

import (
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// strangerInterval is how often the refusals of clients that were not let in are summed up.
const strangerInterval = time.Second

// strangers keep clients that are not let in from filling the logs. Of refusals with one
// code the first is written down as all are. Those that follow are counted, and a line
// for all of them is written every second until none comes any more.
type strangers struct{ *track.Tally[strangerKind] }

// strangerKind is what refusals are counted by.
type strangerKind struct {
	code      string
	challenge bool // nothing that anybody has to see to
}

// newStrangers returns strangers of a proxy whose policy in force policy returns.
func newStrangers(policy func() *policy, interval time.Duration) strangers {
	return strangers{track.NewTally(interval, func(kind strangerKind, times int) {
		pol := policy()
		event := pol.Log.Warn()
		if kind.challenge {
			event = pol.Log.Debug()
		}
		event.Str("refused", kind.code).Int("times", times).Msg("more clients that were not let in")
		if pol.Audit != nil {
			// Nothing depends on it: what was refused stays refused.
			_ = pol.Audit.Audit(audit.Decision{Time: time.Now(), Verdict: audit.VerdictRefuse, Refused: kind.code, Times: times})
		}
	})}
}

// first counts a refusal. It reports whether it is to be written down by itself.
func (s strangers) first(r *refuse.Refusal) bool { return s.First(strangerKind{r.Code, r.Challenge}) }
