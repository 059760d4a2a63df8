package backend_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
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
		{-55 * time.Minute, -55 * time.Minute, true},
		{-55*time.Minute - 29*time.Second, -55 * time.Minute, false},
		{-56 * time.Minute, -56 * time.Minute, true},
		{10 * time.Second, 0, true},
		{56 * 365 * 24 * time.Hour, 56*365*24*time.Hour - time.Second, true},
		{0, 0, true},
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

// TestClockIsSet has this machine's clock jump without its monotonic one, as
// when it is set, or when it has slept.
func TestClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		jump := time.Duration(0)
		// time.Time cannot be made with a chosen monotonic reading: Sub of what Add
		// returns would show the jump in both. So the wall alone is turned.
		c := backend.NewClock(func() time.Time { return begin.Round(0).Add(jump) }, nil)
		for _, jump = range []time.Duration{0, time.Hour, -time.Hour, 0} {
			c.Observe(begin.UTC().Format(http.TimeFormat))
			if got := c.Backend().Sub(begin).Abs(); got > 2*time.Second {
				t.Errorf("after a jump by %s the backend's time is off by %s", jump, got)
			}
		}
	})
}

func TestClockConcurrently(t *testing.T) {
	c := backend.NewClock(nil, func(time.Duration) {})
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			for range 100 {
				c.Observe(time.Now().Add(time.Duration(i) * time.Minute).UTC().Format(http.TimeFormat))
				c.Backend()
			}
		})
	}
	group.Wait()
}
