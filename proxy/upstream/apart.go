package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// freeResets is how many requests of a user may be broken off at once on connections
	// that it shares with others, and in resetsWindow. Servers of HTTP/2 count the streams
	// that are reset, and end the connection with all its streams if there are many: some
	// at a hundred (CVE-2023-44487).
	freeResets = 20
	// resetsWindow is the time in which freeResets more may be broken off.
	resetsWindow = time.Minute
	// manyTime is for how long a user stays apart that has had many responses under way.
	manyTime = time.Minute
	// maxOwn bounds the users with connections of their own. Further ones share some.
	maxOwn = 64
	// maxUsers bounds the users that are remembered, and tidyUsers are left
	// when there are too many: looking at all takes time, and is not for each new one.
	maxUsers  = 4096
	tidyUsers = maxUsers * 7 / 8
)

// apart gives users that break off many requests, or have many responses under way, connections
// of their own.
type apart struct {
	now          func() time.Time
	newTransport func() *byWindow

	any atomic.Bool // some user has connections of its own

	mu    sync.Mutex
	users map[string]*userApart
	own   int       // users with connections of their own
	hasty *byWindow // of those that break off many, and for whom there are none; nil: it was not needed yet
	busy  *byWindow // of the others for whom there are none
}

// userApart is a user that has broken off requests, or had many responses under way.
type userApart struct {
	count float64 // of what it has broken off, less what time has taken away
	since time.Time
	many  time.Time // until when it is apart for what it has under way
	own   *byWindow // nil: it shares those of all
}

func newApart(newTransport func() *byWindow) *apart {
	return &apart{now: time.Now, newTransport: newTransport, users: make(map[string]*userApart)}
}

// noteReset counts a request that user has broken off.
func (s *apart) noteReset(user string) {
	s.note(user, func(u *userApart) { u.count++ })
}

// noteMany notes that user has many responses under way.
func (s *apart) noteMany(user string) {
	s.note(user, func(u *userApart) { u.many = u.since.Add(manyTime) })
}

// note changes what is known of a user, which gets connections of its own if that is too much.
func (s *apart) note(user string, change func(*userApart)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	u := s.users[user]
	if u == nil {
		if len(s.users) >= maxUsers {
			s.tidy(now)
		}
		u = &userApart{since: now}
		s.users[user] = u
	}
	u.age(now)
	change(u)
	if !u.hasty() && !u.many.After(now) || u.own != nil && (u.own != s.busy || !u.hasty()) {
		return
	}
	switch {
	case s.own < maxOwn:
		u.own = s.newTransport()
		s.own++
	case u.hasty():
		u.own = s.crowd(&s.hasty)
	default:
		u.own = s.crowd(&s.busy)
	}
	s.any.Store(true)
}

// crowd returns what a crowd shares, and makes it first if need be.
func (s *apart) crowd(shared **byWindow) *byWindow {
	if *shared == nil {
		*shared = s.newTransport()
	}
	return *shared
}

// hasty reports whether the user has broken off too many requests. It stays apart for twice the
// window after the last, at the most.
func (u *userApart) hasty() bool { return u.count > freeResets }

// over reports whether nothing is left of what was noted of the user.
func (u *userApart) over(now time.Time) bool {
	u.age(now)
	return u.count == 0 && !u.many.After(now)
}

// age takes away what time has.
func (u *userApart) age(now time.Time) {
	u.count = min(2*freeResets, max(0, u.count-float64(now.Sub(u.since))*freeResets/float64(resetsWindow)))
	u.since = now
}

// transportOf returns the transport of a user's own, nil if it has none.
func (s *apart) transportOf(user string) *byWindow {
	if !s.any.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.users[user]
	if u == nil || u.own == nil {
		return nil
	}
	if u.over(s.now()) {
		s.forget(user, u)
		return nil
	}
	return u.own
}

// tidy forgets the users that are not apart for anything lately, or else some that share
// the connections of others, those of the crowds last.
func (s *apart) tidy(now time.Time) {
	for user, u := range s.users {
		if u.over(now) {
			s.forget(user, u)
		}
	}
	for _, shared := range [...]*byWindow{nil, s.busy, s.hasty} {
		for user, u := range s.users {
			if len(s.users) > tidyUsers && u.own == shared {
				s.forget(user, u)
			}
		}
	}
}

func (s *apart) forget(user string, u *userApart) {
	delete(s.users, user)
	if u.own == nil || u.own == s.busy || u.own == s.hasty {
		return
	}
	s.own--
	u.own.CloseIdleConnections()
	// A connection of HTTP/2 is idle a moment after its last response has ended.
	time.AfterFunc(time.Second, u.own.CloseIdleConnections)
}

// closeIdle closes the connections that no request uses.
func (s *apart) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if u.own != nil {
			u.own.CloseIdleConnections()
		}
	}
}
