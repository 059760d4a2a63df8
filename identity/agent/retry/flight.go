package retry

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/agentproxy/agentproxy/internal/contain"
)

// Flight does a piece of work once however many ask for it at the same time. The work
// is done for all of them, so that it does not end when the one that asked first goes
// away, but when the flight is closed. If it panics, that is an error of those who wait. The
// zero value is ready to use.
type Flight[T any] struct {
	// Panicked, if set, is called when a piece of work has panicked.
	Panicked func(*contain.PanicError)

	group singleflight.Group

	mu      sync.Mutex
	closed  bool
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// begin counts a piece of work, unless the flight is closed.
func (f *Flight[T]) begin() (context.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, context.Canceled
	}
	if f.ctx == nil {
		f.ctx, f.cancel = context.WithCancel(context.Background())
	}
	f.running.Add(1)
	return f.ctx, nil
}

// Start begins work, unless that for key is being done. The outcome is sent on the
// channel, which nobody has to read from.
func (f *Flight[T]) Start(key string, work func(context.Context) (T, error)) <-chan singleflight.Result {
	return f.group.DoChan(key, func() (any, error) {
		ctx, err := f.begin()
		if err != nil {
			return nil, err
		}
		defer f.running.Done()
		return contain.Call(f.Panicked, func() (T, error) { return work(ctx) })
	})
}

// Do is [Flight.Start] that waits for the outcome, or for the end of ctx.
func (f *Flight[T]) Do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	select {
	case r := <-f.Start(key, work):
		v, _ := r.Val.(T)
		return v, r.Err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// Close ends the work that is being done and waits for it.
func (f *Flight[T]) Close() {
	f.mu.Lock()
	f.closed = true
	if f.cancel != nil {
		f.cancel()
	}
	f.mu.Unlock()
	f.running.Wait()
}
