package agent_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func TestClock(t *testing.T) {
	local := time.Date(2026, 4, 15, 12, 0, 0, 700e6, time.UTC)
	var told []time.Duration
	c := backend.NewClock(func() time.Time { return local }, func(offset time.Duration) { told = append(told, offset) })
	var want []time.Duration
	for _, tt := range []struct {
		ahead time.Duration // of the backend, as its Date says
		want  time.Duration
		told  bool
	}{
		{0, 0, false},
		{30 * time.Second, 0, false},
		{-30 * time.Second, 0, false},
		{32 * time.Second, 31 * time.Second, true}, // Date has no fractions
		{29 * time.Second, 31 * time.Second, false},
		{31 * time.Second, 31 * time.Second, false},
		{60 * time.Second, 31 * time.Second, false},
		{14 * time.Second, 0, true},
		{29 * time.Second, 0, false},
		{-8 * time.Minute, -8 * time.Minute, true},
		{-8*time.Minute - 29*time.Second, -8 * time.Minute, false},
		{-9 * time.Minute, -9 * time.Minute, true},
		{10 * time.Second, 0, true},
	} {
		c.Observe(local.Add(tt.ahead).Truncate(time.Second).Format(http.TimeFormat))
		if got := c.Offset(); (got-tt.want).Abs() > time.Second || (got == 0) != (tt.want == 0) {
			t.Fatalf("%s ahead: offset %s, want %s", tt.ahead, got, tt.want)
		}
		if tt.told {
			want = append(want, c.Offset())
		}
		if !slices.Equal(told, want) {
			t.Fatalf("%s ahead: told %v, want %v", tt.ahead, told, want)
		}
	}
	for _, date := range []string{"", "yesterday", "2026-04-15T12:00:00Z", "Wed, 15 Apr 2026 13:00:00 PST", "\x00"} {
		c.Observe(date)
	}
	if c.Offset() != 0 || !c.Backend().Equal(local) || !c.Now().Equal(local) {
		t.Errorf("offset %s", c.Offset())
	}
}

// TestClockTooFar tells of a difference that is too large, once, and does not follow it.
func TestClockTooFar(t *testing.T) {
	local := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	var told []time.Duration
	c := backend.NewClock(func() time.Time { return local }, func(offset time.Duration) { told = append(told, offset) })
	for _, tt := range []struct{ ahead, offset, excess time.Duration }{
		{5 * time.Minute, 5 * time.Minute, 0},
		{22 * time.Hour, 5 * time.Minute, 22 * time.Hour},
		{22*time.Hour + 20*time.Second, 5 * time.Minute, 22 * time.Hour},
		{-22 * time.Hour, 5 * time.Minute, -22 * time.Hour},
		{5 * time.Minute, 5 * time.Minute, 0},
		{backend.MaxClockOffset, backend.MaxClockOffset, 0},
		{backend.MaxClockOffset + time.Second, backend.MaxClockOffset, backend.MaxClockOffset + time.Second},
		{0, 0, 0},
		{56 * 365 * 24 * time.Hour, 0, 56 * 365 * 24 * time.Hour},
	} {
		c.Observe(local.Add(tt.ahead).Format(http.TimeFormat))
		if c.Offset() != tt.offset || c.Excess() != tt.excess || !c.Backend().Equal(local.Add(tt.offset)) {
			t.Errorf("%s ahead: offset %s and %s too far, want %s and %s", tt.ahead, c.Offset(), c.Excess(), tt.offset, tt.excess)
		}
	}
	m := time.Minute
	if want := []time.Duration{5 * m, 22 * time.Hour, -22 * time.Hour, 5 * m, 10 * m, 10*m + time.Second, 0, 56 * 365 * 24 * time.Hour}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// TestClockIsSet has this machine's clock jump without its monotonic one, as
// when it is set, or when it has slept.
func TestClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		jump := time.Duration(0)
		// time.Time cannot be made with a chosen monotonic reading: Sub of what Add
		// returns would show the jump in both. So the wall alone is turned.
		c := backend.NewClock(func() time.Time { return begin.Round(0).Add(jump) }, nil)
		for _, jump = range []time.Duration{0, 9 * time.Minute, -9 * time.Minute, 0} {
			c.Observe(begin.UTC().Format(http.TimeFormat))
			if got := c.Backend().Sub(begin).Abs(); got > 2*time.Second {
				t.Errorf("after a jump by %s the backend's time is off by %s", jump, got)
			}
		}
	})
}

func TestClockConcurrently(t *testing.T) {
	c := backend.NewClock(nil, func(time.Duration) {})
	together(20, func(i int) {
		for range 100 {
			c.Observe(time.Now().Add(time.Duration(i) * time.Minute).UTC().Format(http.TimeFormat))
			c.Backend()
		}
	})
}

// TestSkewedClock registers and signs on a machine whose clock is off.
func TestSkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{9 * time.Minute, -9 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			r := newRig(t)
			r.localOnly.Store(int64(skew))
			r.server.SetTokenLifetime(24 * time.Hour)
			r.login(chatgpttest.Account{})
			a := r.agent()
			s := r.session(a, "")
			if (s.ClockOffset+skew).Abs() > 2*time.Second || a.ClockOffset() != s.ClockOffset {
				t.Errorf("offset %s for a clock that is %s ahead", s.ClockOffset, skew)
			}
			if got := r.accepts(s); got != 200 {
				t.Errorf("the backend answered %d", got)
			}
			registered, err := time.Parse(time.RFC3339, r.record().RegisteredAt)
			if err != nil || time.Since(registered).Abs() > time.Minute {
				t.Errorf("registered at %s, %v", registered, err)
			}
			r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
			if s := r.session(r.agent(), ""); s.Task.ID == "" {
				t.Error("no task after a restart")
			}
		})
	}
}

// TestSkewIsLearntFromTheRefusal has nothing told before the task is registered.
func TestSkewIsLearntFromTheRefusal(t *testing.T) {
	r := newRig(t)
	r.write(r.server.Login(chatgpttest.Account{}).AgentAuthJSON("B"))
	s := r.session(r.agent(), "")
	if got := r.accepts(s); got != 200 {
		t.Fatalf("the backend answered %d", got)
	}
	a := r.agent()
	r.session(a, "")
	r.localOnly.Store(int64(9 * time.Minute)) // it is set while the agent runs
	s = r.session(a, "label")
	if got := r.accepts(s); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
}

// TestClockToldOnce has many answers come at once.
func TestClockToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := 0
		c := backend.NewClock(nil, func(time.Duration) { mu.Lock(); told++; mu.Unlock() })
		together(50, func(int) { c.Observe(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)) })
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}
