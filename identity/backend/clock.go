package backend

import (
	"net/http"
	"sync"
	"time"
)

// Clock measures how far the servers' clock is from this machine's, by the Date field
// (RFC 9110, section 6.6.1) of answers that came over verified TLS. It is safe for
// concurrent use.
type Clock struct {
	now func() time.Time

	mu     sync.Mutex
	date   string    // that was observed last
	at     time.Time // date, parsed
	offset time.Duration
	excess time.Duration // the difference, if it is not followed
	notify func(offset time.Duration)
}

// MaxClockOffset is the largest difference that is followed. Whoever answers in the
// backend's name could otherwise have assertions made that are good tomorrow.
const MaxClockOffset = 10 * time.Minute

// clockTolerance is a difference that does not count: Date has whole seconds, answers
// take time to arrive, and the servers accept minutes.
const clockTolerance = 30 * time.Second

// NewClock returns a clock that takes this machine's time from now, time.Now if nil. It
// calls notify, if not nil, with every new offset, also with those that are not followed.
func NewClock(now func() time.Time, notify func(offset time.Duration)) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now, notify: notify}
}

// Now returns this machine's time, uncorrected.
func (c *Clock) Now() time.Time { return c.now() }

// Offset returns how far the servers' clock is ahead of this machine's. A difference of
// less than 30 seconds counts as zero.
func (c *Clock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Excess returns how far the backend's clock is ahead of this machine's if that is by more
// than [MaxClockOffset], so that it is not followed; else zero.
func (c *Clock) Excess() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.excess
}

// Backend returns the time by the servers' clock.
func (c *Clock) Backend() time.Time { return c.now().Add(c.Offset()) }

// Observe takes the Date field of an answer that has just arrived. It ignores what is not
// a date.
func (c *Clock) Observe(date string) {
	if date == "" {
		return
	}
	c.mu.Lock()
	if date != c.date { // many answers come in a second
		at, err := http.ParseTime(date)
		if err != nil {
			c.mu.Unlock()
			return
		}
		c.date, c.at = date, at
	}
	// Round strips the monotonic clock reading, which has no date.
	offset := c.at.Sub(c.now().Round(0)).Truncate(time.Second)
	tooFar := offset.Abs() > MaxClockOffset
	if tooFar && c.excess != 0 && (offset-c.excess).Abs() <= clockTolerance {
		c.mu.Unlock()
		return
	}
	wasTooFar := c.excess != 0
	c.excess = 0
	switch {
	case tooFar:
		c.excess = offset
	case offset.Abs() <= clockTolerance/2 || c.offset == 0 && offset.Abs() <= clockTolerance:
		offset = 0
	case c.offset != 0 && (offset-c.offset).Abs() <= clockTolerance:
		// Else a difference on the border would come and go all the time.
		offset = c.offset
	}
	if offset == c.offset && !wasTooFar {
		c.mu.Unlock()
		return
	}
	if !tooFar {
		c.offset = offset
	}
	notify := c.notify
	c.mu.Unlock()
	if notify != nil {
		notify(offset)
	}
}
