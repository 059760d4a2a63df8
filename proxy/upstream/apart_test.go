package upstream

import (
	"fmt"
	"testing"
	"time"
)

// TestResets parts a user from the others when it has broken off many requests, and for as
// long as it goes on.
func TestResets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	s := newApart(func() *byWindow { return newByWindow(newDialer(Config{}, nil)) })
	s.now = func() time.Time { return now }
	note := func(user string, n int) {
		for range n {
			s.noteReset(user)
		}
	}
	note("a", freeResets)
	if s.transportOf("a") != nil {
		t.Error("it has connections of its own too early")
	}
	note("a", 1)
	own := s.transportOf("a")
	if own == nil {
		t.Fatal("it shares the connections of the others")
	}
	if s.transportOf("b") != nil || s.transportOf("") != nil {
		t.Error("another has connections of its own")
	}
	now = now.Add(resetsWindow)
	if s.transportOf("a") != own {
		t.Error("it is back too early")
	}
	now = now.Add(2 * resetsWindow)
	if s.transportOf("a") != nil || s.own != 0 {
		t.Error("it is not back")
	}
	// Slow ones are never parted.
	for range 10 * freeResets {
		note("slow", 1)
		now = now.Add(resetsWindow / freeResets)
	}
	if s.transportOf("slow") != nil {
		t.Error("one that seldom breaks off has connections of its own")
	}
}

// TestResetsAreBounded has many users break off requests.
func TestResetsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	made := 0
	s := newApart(func() *byWindow { made++; return newByWindow(newDialer(Config{}, nil)) })
	s.now = func() time.Time { return now }
	for i := range 2 * maxOwn {
		for range freeResets + 1 {
			s.noteReset(fmt.Sprint("many ", i))
		}
	}
	if made != maxOwn+1 || s.own != maxOwn {
		t.Errorf("%d transports were made, %d users are apart", made, s.own)
	}
	if s.transportOf(fmt.Sprint("many ", 2*maxOwn-1)) != s.hasty {
		t.Error("the last shares the connections of all")
	}
	for i := range 2 * maxUsers {
		s.noteReset(fmt.Sprint("few ", i))
	}
	if len(s.users) > maxUsers {
		t.Errorf("%d users are remembered", len(s.users))
	}
	for i := range maxUsers {
		for range freeResets + 1 {
			s.noteReset(fmt.Sprint("more ", i))
		}
	}
	if len(s.users) > maxUsers {
		t.Errorf("%d users of the crowd are remembered", len(s.users))
	}
	if s.transportOf("many 0") == nil {
		t.Error("one that is apart was forgotten")
	}
	now = now.Add(time.Hour)
	for i := range maxUsers {
		s.noteReset(fmt.Sprint("later ", i))
	}
	if s.own != 0 {
		t.Errorf("%d users are still apart", s.own)
	}
	s.closeIdle()
}

// TestManyApart parts a user that has many responses under way, for a while.
func TestManyApart(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	s := newApart(func() *byWindow { return newByWindow(newDialer(Config{}, nil)) })
	s.now = func() time.Time { return now }
	s.noteMany("a")
	own := s.transportOf("a")
	if own == nil || s.transportOf("b") != nil {
		t.Error("it shares the connections of the others, or another does not")
	}
	now = now.Add(manyTime / 2)
	s.noteMany("a")
	now = now.Add(manyTime * 3 / 4)
	if s.transportOf("a") != own {
		t.Error("it is back too early")
	}
	now = now.Add(manyTime)
	if s.transportOf("a") != nil || s.own != 0 {
		t.Error("it is not back")
	}
}

// TestCrowds has more users than can have connections of their own. Those that break off many
// share none with those that do not.
func TestCrowds(t *testing.T) {
	t.Parallel()
	s := newApart(func() *byWindow { return newByWindow(newDialer(Config{}, nil)) })
	for i := range maxOwn {
		s.noteMany(fmt.Sprint(i))
	}
	s.noteMany("busy")
	s.noteMany("both")
	if busy := s.transportOf("busy"); busy == nil || s.transportOf("both") != busy {
		t.Error("two that have many under way share no connections")
	}
	for range freeResets + 1 {
		s.noteReset("hasty")
		s.noteReset("both")
	}
	if hasty := s.transportOf("hasty"); hasty == s.transportOf("busy") || s.transportOf("both") != hasty {
		t.Error("one that breaks off many shares the connections of one that does not")
	}
}
