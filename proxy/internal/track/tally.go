package track

import (
	"sync"
	"time"
)

// Tally counts events by their kind, of which there are few, and tells of each kind once in
// an interval. The zero value is not ready for use.
type Tally[K comparable] struct {
	interval time.Duration
	tell     func(kind K, times int)

	mu      sync.Mutex
	stopped bool
	kinds   map[K]*tally
}

// tally counts the events of one kind.
type tally struct {
	times int // since they were last told of
	timer *time.Timer
}

// NewTally returns a tally that calls tell for the events that [Tally.First] has not let
// be told of by themselves.
func NewTally[K comparable](interval time.Duration, tell func(kind K, times int)) *Tally[K] {
	return &Tally[K]{interval: interval, tell: tell, kinds: make(map[K]*tally)}
}

// First counts an event. It reports whether the event is to be told of by itself.
func (s *Tally[K]) First(kind K) bool {
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

// sumUp tells of the events of a kind, and waits for more if there were any.
func (s *Tally[K]) sumUp(kind K) {
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
	s.tell(kind, t.times)
	t.times = 0
	t.timer.Reset(s.interval)
}

// Stop tells of what is left. Nothing is counted any more.
func (s *Tally[K]) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for kind, t := range s.kinds {
		t.timer.Stop()
		if t.times > 0 {
			s.tell(kind, t.times)
		}
	}
	clear(s.kinds)
}
