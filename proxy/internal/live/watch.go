package live

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	// interval is how often the exchanges are looked at while there are any.
	interval = 250 * time.Millisecond
	// grace is how long a write may take before its client counts as one that does not
	// read.
	grace = 100 * time.Millisecond
)

// Why exchanges are cut.
const (
	ReasonStalled = "cut because the client has read nothing for limits.idle_timeout"
	ReasonUnread  = "cut because clients of its label read too little of what they have asked for, see limits.memory"
)

// Watch looks at the exchanges, as long as there are some, until ctx ends. It calls
// also each time.
func (s *Set) Watch(ctx context.Context, also func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.woken:
		}
		s.watchSome(ctx, also)
	}
}

// watchSome looks until nothing has run for a while.
func (s *Set) watchSome(ctx context.Context, also func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for idle := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		also()
		if s.look(s.clock()) {
			idle = 0
		} else if idle++; idle > 4 && s.rest() {
			return
		}
	}
}

// rest reports whether nothing runs, so that it need not be looked at.
func (s *Set) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first != nil {
		return false
	}
	s.awake = false
	return true
}

// look cuts the exchanges whose clients read too little at a time of the set's clock. It
// reports whether there are any exchanges.
func (s *Set) look(now int64) bool {
	list, some := s.toCut(now)
	for _, e := range list {
		s.end(e)
	}
	return some
}

// ending is an exchange that is to be cut.
type ending struct {
	*Entry
	reason string
}

// end cuts the exchange, unless it has ended meanwhile.
func (s *Set) end(e ending) {
	e.cutting.Lock()
	defer e.cutting.Unlock()
	switch {
	case e.over:
	case e.lingers: // which changes no more: what is about to be cut does not begin to linger
		s.endLingering(e)
	default:
		e.x.Cut(e.reason)
	}
}

// endLingering cuts the connection of an exchange that lingers, unless that has become idle, or
// need not become so any more. The set is locked, for other exchanges may begin there.
func (s *Set) endLingering(e ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.set != nil && (e.reason != ReasonStalled || e.Stall > 0) {
		e.x.Cut(e.reason)
	}
}

// toCut returns the exchanges that are to be cut, and whether there are any others.
func (s *Set) toCut(now int64) (list []ending, some bool) {
	b := s.bounds.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = 0
	for _, l := range s.labels {
		l.unread = 0
		s.forget(l)
	}
	cut := func(e *Entry, reason string) {
		e.cut = true
		list = append(list, ending{e, reason})
	}
	type blocked struct {
		*Entry
		began  int64
		unread int64 // bytes
	}
	var unread []blocked
	for e := s.first; e != nil; e = e.after {
		began := e.writing.Load()
		if began == 0 || e.cut {
			continue
		}
		waits := time.Duration(now - began)
		if e.Stall > 0 && waits >= e.Stall {
			cut(e, ReasonStalled)
			continue
		}
		if waits >= grace {
			n := e.Unread.Load()
			unread = append(unread, blocked{e, began, n})
			s.unread += n
			e.label.unread += n
		}
	}
	cutUnread := func(e blocked) {
		s.unread -= e.unread
		e.label.unread -= e.unread
		cut(e.Entry, ReasonUnread)
	}
	slices.SortFunc(unread, func(a, b blocked) int { return cmp.Compare(a.began, b.began) })
	for _, e := range unread {
		if e.label.unread > b.Unread.Label {
			cutUnread(e)
		}
	}
	for s.unread > b.Unread.All {
		// Of the label of which most is unread.
		var longest blocked
		for _, e := range unread {
			if !e.cut && (longest.Entry == nil || e.label.unread > longest.label.unread) {
				longest = e
			}
		}
		cutUnread(longest)
	}
	return list, s.first != nil
}
