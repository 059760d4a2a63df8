package proxy

import (
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// strangerInterval is how often the refusals of clients that were not let in are summed up.
const strangerInterval = time.Second

// strangers keep clients that are not let in from filling the logs. Of refusals with one
// code the first is written down as all are. Those that follow are counted, and a line
// for all of them is written every second until none comes any more.
type strangers struct {
	policy   func() *policy // in force
	interval time.Duration

	mu      sync.Mutex
	stopped bool
	kinds   map[strangerKind]*tally // of which there are few
}

// strangerKind is what refusals are counted by.
type strangerKind struct {
	code      string
	challenge bool // nothing that anybody has to see to
}

// tally counts the refusals of one kind.
type tally struct {
	times int // since the last line
	timer *time.Timer
}

func newStrangers(policy func() *policy) *strangers {
	return &strangers{policy: policy, interval: strangerInterval, kinds: make(map[strangerKind]*tally)}
}

// first counts a refusal. It reports whether it is to be written down by itself.
func (s *strangers) first(r *refuse.Refusal) bool {
	kind := strangerKind{r.Code, r.Challenge}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return true
	}
	if t := s.kinds[kind]; t != nil {
		t.times++
		return false
	}
	s.kinds[kind] = &tally{timer: time.AfterFunc(s.interval, func() { s.sumUp(kind) })}
	return true
}

// sumUp writes the line for a kind, and waits for more if there was one to write.
func (s *strangers) sumUp(kind strangerKind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.kinds[kind]
	if s.stopped || t == nil {
		return
	}
	if t.times == 0 {
		delete(s.kinds, kind)
		return
	}
	s.write(kind, t.times)
	t.times = 0
	t.timer.Reset(s.interval)
}

// stop writes what is left to write. Nothing is counted any more.
func (s *strangers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for kind, t := range s.kinds {
		t.timer.Stop()
		if t.times > 0 {
			s.write(kind, t.times)
		}
	}
	clear(s.kinds)
}

func (s *strangers) write(kind strangerKind, times int) {
	policy := s.policy()
	event := policy.Log.Warn()
	if kind.challenge {
		event = policy.Log.Debug()
	}
	event.Str("refused", kind.code).Int("times", times).Msg("more clients that were not let in")
	if policy.Audit != nil {
		// Nothing depends on it: what was refused stays refused.
		_ = policy.Audit.Audit(audit.Decision{Time: time.Now(), Verdict: audit.VerdictRefuse, Refused: kind.code, Times: times})
	}
}
