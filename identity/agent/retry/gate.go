package retry

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// patience is how long a request is put off, in all, because the server asks for it.
// Beyond that it fails, and those who wait for it are told.
const patience = 30 * time.Second

// Gate lets only so many requests be under way as a server takes: a number at a time,
// and none for as long as the server asks to be left alone. Its times are those of the
// monotonic clock. It is safe for concurrent use.
type Gate struct {
	places chan struct{}
	asked  func(error) time.Duration

	mu    sync.Mutex
	until time.Time
}

// NewGate returns a gate for n requests at a time. asked returns how long the server
// that answered with an error asks to be left alone, 0 if it does not.
func NewGate(n int, asked func(error) time.Duration) *Gate {
	return &Gate{places: make(chan struct{}, n), asked: asked}
}

// Enter waits for a place, until ctx ends. The caller gives it back by [Gate.Leave].
func (g *Gate) Enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave gives a place back.
func (g *Gate) Leave() { <-g.places }

// Do calls try, and again after the time for which the server asks to be left alone, up
// to 30 seconds in all. Others that call Do wait as well.
func (g *Gate) Do(ctx context.Context, try func() error) error {
	for waited := time.Duration(0); ; {
		if err := g.wait(ctx); err != nil {
			return err
		}
		err := try()
		asked := g.asked(err)
		if asked == 0 || waited+asked > patience {
			return err
		}
		waited += asked
		g.pause(asked)
	}
}

// pause has everybody wait. Many proxies that were told the same do not come back
// at the same moment.
func (g *Gate) pause(d time.Duration) {
	until := time.Now().Add(d + rand.N(d/4+1))
	g.mu.Lock()
	defer g.mu.Unlock()
	if until.After(g.until) {
		g.until = until
	}
}

// wait waits until nobody has to.
func (g *Gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := time.Until(g.until)
		g.mu.Unlock()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
