package identity

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

// backoff keeps something that fails from being tried all the time: after each
// failure the wait doubles, and jitter keeps many proxies from trying at once. It
// is no shorter than the backend asks for.
// When the wait is over one tries for all. The zero value lets the first tries
// pass. It is safe for concurrent use.
type backoff struct {
	mu      sync.Mutex
	wait    time.Duration
	until   time.Time
	span    time.Duration // from when until was set
	err     error
	key     any  // what failed; another thing may be tried at once
	probing bool // somebody was let through after a failure
}

// waits reports whether key is not to be tried yet.
func (b *backoff) waits(now time.Time, key any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waitsLocked(now, key)
}

func (b *backoff) waitsLocked(now time.Time, key any) bool {
	// A clock that was set back must not stretch the wait.
	return b.err != nil && b.key == key && now.Before(b.until) && b.until.Sub(now) <= b.span
}

// last returns why key failed the last time, nil if it did not.
func (b *backoff) last(key any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key != key {
		return nil
	}
	return b.err
}

// ready returns nil if key may be tried now, else why not. Who was let through
// calls done.
func (b *backoff) ready(now time.Time, key any) error {
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

// done notes the outcome of trying key.
func (b *backoff) done(now time.Time, key any, err error) {
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
	b.waitFor(now, max(b.wait/2+rand.N(b.wait), retryAfter(err)))
	b.err, b.key, b.probing = err, key, false
}

func (b *backoff) waitFor(now time.Time, d time.Duration) { b.until, b.span = now.Add(d), d }

const (
	paceFirst = 2 * time.Second
	paceMost  = 10 * time.Minute
)

// pacer bounds how often something that the backend refused is renewed. A
// backend that refuses what was just renewed will refuse the next one too: the
// time until another renewal doubles. It is safe for concurrent use.
type pacer struct {
	mu   sync.Mutex
	last time.Time
	wait time.Duration
}

// ready reports whether to renew now.
func (p *pacer) ready(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last.IsZero() || now.Sub(p.last).Abs() >= p.wait
}

// count notes that it was renewed.
func (p *pacer) count(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.IsZero() || now.Sub(p.last).Abs() >= 4*max(p.wait, paceFirst) {
		p.wait = paceFirst
	} else {
		p.wait = min(2*p.wait, paceMost)
	}
	p.last = now
}
