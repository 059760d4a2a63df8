// Package track counts what is in use: running operations that somebody waits
// for, places of which there are so many, and references to what is shared.
package track

import (
	"context"
	"sync"
)

// InFlight counts running operations. Unlike a [sync.WaitGroup] it may grow while
// another goroutine waits.
type InFlight struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed while n is zero
}

// NewInFlight returns an InFlight of which nothing runs.
func NewInFlight() *InFlight {
	f := &InFlight{zero: make(chan struct{})}
	close(f.zero)
	return f
}

// Add adds delta, which may be negative, to the number of running operations.
func (f *InFlight) Add(delta int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		f.zero = make(chan struct{})
	}
	if f.n += delta; f.n == 0 {
		close(f.zero)
	}
}

// Wait waits until nothing runs. It returns ctx's error if ctx ends before.
func (f *InFlight) Wait(ctx context.Context) error {
	f.mu.Lock()
	zero := f.zero
	f.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
