//go:build linux

package main

import (
	"context"
	"time"
)

// idle prepares a fresh instance, for one that has worked before has memory to
// spare, and opens connections that do nothing after one request.
func idle(ctx context.Context, b *bench, i *instance) (*session, error) {
	p := b.program(i.program)
	fresh, err := b.startInstance(ctx, p, p.name+"-idle")
	if err != nil {
		return nil, err
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) { return b.idleRound(ctx, fresh) },
		close: fresh.stop,
	}, nil
}

func (b *bench) idleRound(ctx context.Context, i *instance) (metrics, error) {
	// The first request is what makes a program ready.
	if _, err := i.get(ctx, pathJSON); err != nil {
		return nil, err
	}
	before, err := i.process.usage()
	if err != nil {
		return nil, err
	}
	clients, err := i.openIdle(ctx, b.plan.idle)
	if err != nil {
		return nil, err
	}
	defer closeAll(clients)
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(b.plan.settle):
	}
	after, err := i.process.usage()
	if err != nil {
		return nil, err
	}
	return metrics{
		keyEach: float64(after.rss-before.rss) / 1e3 / float64(b.plan.idle),
		keyRSS:  megabytes(after.rss),
	}, nil
}

// openIdle opens connections, each of which has had its one request.
func (e *endpoint) openIdle(ctx context.Context, n int) ([]client, error) {
	return open(ctx, n, func(ctx context.Context) (*h1Client, error) {
		c, err := e.newH1(ctx, "GET", pathJSON)
		if err != nil {
			return nil, err
		}
		_ = c.conn.SetDeadline(time.Now().Add(grace))
		return c, c.do()
	})
}

// program returns the program of that name.
func (b *bench) program(name string) *program {
	for _, p := range b.programs {
		if p.name == name {
			return p
		}
	}
	return nil
}
