// Package retry holds back what many callers would try at the same time.
//
// A [Flight] does a piece of work once for all callers. A [Gate] lets a few in at a time,
// and none while the server asks to be left alone. A [Backoff] spaces the tries of what
// fails, and a [Cooldown] the renewals of what is refused.
package retry

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	backoffFirst = time.Second
	backoffMost  = 30 * time.Second
)

// Backoff keeps something that fails from being tried all the time. After each failure
// the wait doubles, from 1 to 30 seconds, and jitter keeps many processes from trying at
// once. When the wait is over one caller tries for all. The zero value lets the first
// tries pass. It is safe for concurrent use.
type Backoff struct {
	mu      sync.Mutex
	wait    time.Duration
	until   time.Time
	span    time.Duration // between the failure and until
	err     error
	key     any  // of what failed; another thing may be tried at once
	probing bool // one caller was let through after a failure
}

// Waits reports whether key must not be tried yet.
func (b *Backoff) Waits(now time.Time, key any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waitsLocked(now, key)
}

func (b *Backoff) waitsLocked(now time.Time, key any) bool {
	// A clock that was set back must not stretch the wait.
	return b.err != nil && b.key == key && now.Before(b.until) && b.until.Sub(now) <= b.span
}

// Last returns the error of the last try of key, nil if it succeeded.
func (b *Backoff) Last(key any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != key {
		return nil
	}
	return b.err
}

// Ready returns nil if key may be tried now, else why it failed and when the next try
// is. The caller that may try calls [Backoff.Done] with the outcome.
func (b *Backoff) Ready(now time.Time, key any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || b.key != key {
		return nil
	}
	if b.waitsLocked(now, key) {
		return fmt.Errorf("%w (next try in %s)", b.err, b.until.Sub(now).Round(time.Second))
	}
	b.waitFor(now, b.wait)
	b.probing = true
	return nil
}

// Done notes the outcome of trying key, and that the next try has to wait for atLeast.
func (b *Backoff) Done(now time.Time, key any, err error, atLeast time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.wait, b.err, b.key, b.probing = 0, nil, nil, false
		return
	}
	switch {
	case b.err == nil || b.key != key:
		b.wait = backoffFirst
	case b.probing:
		b.wait = min(2*b.wait, backoffMost)
	default:
		return // one of several that were under way together counts
	}
	b.waitFor(now, max(b.wait/2+rand.N(b.wait), atLeast))
	b.err, b.key, b.probing = err, key, false
}

func (b *Backoff) waitFor(now time.Time, d time.Duration) { b.until, b.span = now.Add(d), d }

const (
	cooldownFirst = 2 * time.Second
	cooldownMost  = 10 * time.Minute
)

// Cooldown bounds how often something that a server refused is renewed. A server that
// refuses what was just renewed will refuse the next one too, so that the time until
// another renewal doubles, from 2 seconds to 10 minutes. It is safe for concurrent use.
type Cooldown struct {
	mu   sync.Mutex
	last time.Time
	wait time.Duration
}

// Ready reports whether to renew now.
func (c *Cooldown) Ready(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.IsZero() || now.Sub(c.last).Abs() >= c.wait
}

// Count notes that it was renewed.
func (c *Cooldown) Count(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.IsZero() || now.Sub(c.last).Abs() >= 4*max(c.wait, cooldownFirst) {
		c.wait = cooldownFirst
	} else {
		c.wait = min(2*c.wait, cooldownMost)
	}
	c.last = now
}
