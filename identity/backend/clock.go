package backend

import (
	"net/http"
	"sync"
	"time"
)

// Clock learns how far the backend's clock is from this machine's, from the
// Date header (RFC 9110, 6.6.1) of answers that came over verified TLS. It is
// safe for concurrent use.
type Clock struct {
	now func() time.Time

	mu     sync.Mutex
	date   string    // the last that was observed
	at     time.Time // which it says
	offset time.Duration
	excess time.Duration // the difference, if it is not followed
	told   func(offset time.Duration)
}

// MaxClockOffset is the largest difference that is followed. Whoever answers in the
// backend's name could otherwise have assertions made that are good tomorrow.
const MaxClockOffset = 10 * time.Minute

// clockTolerance is the difference that is left alone: Date counts seconds,
// answers take time to arrive, and the backend accepts minutes.
const clockTolerance = 30 * time.Second

// NewClock returns a clock that takes this machine's time from now (nil:
// time.Now), and tells of the differences that it finds (nil: nobody), also of those that
// it does not follow.
func NewClock(now func() time.Time, told func(offset time.Duration)) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now, told: told}
}

// Now returns this machine's time, uncorrected.
func (c *Clock) Now() time.Time { return c.now() }

// Offset returns how far the backend's clock is ahead of this machine's, zero
// if by less than what does not matter.
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

// Backend returns what the time is to the backend.
func (c *Clock) Backend() time.Time { return c.now().Add(c.Offset()) }

// Observe notes the Date header of an answer that has just arrived. What is not
// a date is passed over.
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
	// Round strips the monotonic clock, which knows nothing of dates.
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
	told := c.told
	c.mu.Unlock()
	if told != nil {
		told(offset)
	}
}
