package proxy

import (
	"context"
	"sync"
)

// gauge counts what is going on, and tells when nothing is. A WaitGroup does
// not allow that something begins while somebody waits.
type gauge struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed while n is zero
}

func newGauge() *gauge {
	g := &gauge{zero: make(chan struct{})}
	close(g.zero)
	return g
}

func (g *gauge) add(delta int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n == 0 {
		g.zero = make(chan struct{})
	}
	if g.n += delta; g.n == 0 {
		close(g.zero)
	}
}

// wait waits until nothing is going on, or ctx ends.
func (g *gauge) wait(ctx context.Context) error {
	g.mu.Lock()
	zero := g.zero
	g.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
