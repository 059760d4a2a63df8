package identity

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxRegistrations bounds the tasks that are being registered at a time. With
	// hundreds of new labels at once the backend would refuse most.
	maxRegistrations = 10
	// patience is how long a registration is put off, in all, because the backend
	// asks for it. Beyond that it fails, and those who wait for it are told.
	patience = 30 * time.Second
)

// pace lets so many registrations be under way as the backend takes: a number at
// a time, and none for as long as it asks to be left alone. Its times are those
// of the monotonic clock. It is safe for concurrent use.
type pace struct {
	places chan struct{}

	mu    sync.Mutex
	until time.Time
}

func newPace(n int) *pace { return &pace{places: make(chan struct{}, n)} }

// enter waits for a place. Who got one calls leave.
func (p *pace) enter(ctx context.Context) error {
	select {
	case p.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pace) leave() { <-p.places }

// do tries something, and again after what the backend asks to wait, as long as
// that is bearable. Others that try wait as well.
func (p *pace) do(ctx context.Context, try func() error) error {
	for waited := time.Duration(0); ; {
		if err := p.wait(ctx); err != nil {
			return err
		}
		err := try()
		asked := retryAfter(err)
		if asked == 0 || waited+asked > patience {
			return err
		}
		waited += asked
		p.pause(asked)
	}
}

// pause has everybody wait. Many proxies that were told the same do not come back
// at the same moment.
func (p *pace) pause(d time.Duration) {
	until := time.Now().Add(d + rand.N(d/4+1))
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.until) {
		p.until = until
	}
}

// wait waits until nobody has to.
func (p *pace) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := time.Until(p.until)
		p.mu.Unlock()
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

// retryAfter returns how long the backend asks to be left alone, 0 if it does not.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*AnswerError](err); ok {
		return e.RetryAfter
	}
	return 0
}
