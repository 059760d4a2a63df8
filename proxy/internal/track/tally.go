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
	telling  sync.Mutex // held while tell is called; taken before mu

	mu      sync.Mutex // held for moments only
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
	s.telling.Lock()
	defer s.telling.Unlock()
	if times := s.take(kind); times > 0 {
		s.tell(kind, times)
	}
}

// take returns how many events of a kind are to be told of. It forgets the kind if there are
// none.
func (s *Tally[K]) take(kind K) (times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.kinds[kind]
	switch {
	case t == nil:
		return 0
	case t.times == 0:
		delete(s.kinds, kind)
		return 0
	}
	times, t.times = t.times, 0
	t.timer.Reset(s.interval)
	return times
}

// Stop tells of what is left. Nothing is counted any more.
func (s *Tally[K]) Stop() {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	left := s.kinds
	s.stopped, s.kinds = true, nil
	s.mu.Unlock()
	for kind, t := range left {
		t.timer.Stop()
		if t.times > 0 {
			s.tell(kind, t.times)
		}
	}
}
