package backend_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
)

// TestTimeOfAccounts learns what the time is from the server of the base URL, and not from
// the one that refreshes tokens.
func TestTimeOfAccounts(t *testing.T) {
	t.Parallel()
	client := backend.New(backend.Config{BaseURL: baseURL, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Request: r, Body: io.NopCloser(strings.NewReader("{}")),
			Header: http.Header{"Date": {time.Now().Add(5 * time.Minute).UTC().Format(http.TimeFormat)}},
		}, nil
	})})
	if _, err := client.Refresh(t.Context(), "refresh"); err == nil {
		t.Error("refreshed")
	}
	if offset := client.Clock().Offset(); offset != 0 {
		t.Errorf("the accounts service is believed to be %s ahead", offset)
	}
	if _, err := client.Biscuit(t.Context(), "token", baseURL+"/v1/agent/register"); err == nil {
		t.Error("a biscuit")
	}
	if offset := client.Clock().Offset(); offset < 4*time.Minute {
		t.Errorf("the backend is believed to be %s ahead", offset)
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
