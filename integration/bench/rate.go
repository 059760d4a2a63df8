//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The fixed rate: so many requests a second, over so many connections.
const (
	fixedRate        = 3_000
	fixedConnections = 32
)

// fixedRateOver prepares connections that send requests at a fixed rate. A request that is late
// because the one before it on its connection was slow counts from when it was due.
func fixedRateOver(alpn string) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		clients, err := open(ctx, fixedConnections, func(openCtx context.Context) (client, error) {
			if alpn == alpnH1 {
				return i.newH1(openCtx, "GET", pathSide)
			}
			c, err := i.newH2(openCtx, pathSide)
			if err == nil {
				c.request = c.request.WithContext(ctx) // requests outlive the opening
			}
			return c, err
		})
		if err != nil {
			return nil, err
		}
		warm := false
		return &session{
			round: func(ctx context.Context) (metrics, error) {
				if !warm {
					if _, err := atFixedRate(ctx, clients, b.plan.request/4, i.process); err != nil {
						return nil, err
					}
					warm = true
				}
				l, err := atFixedRate(ctx, clients, b.plan.rate, i.process)
				if err != nil {
					return nil, err
				}
				return l.perRequest(), nil
			},
			close: func() { closeAll(clients) },
		}, nil
	}
}

func atFixedRate(ctx context.Context, clients []client, d time.Duration, p *process) (load, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d+grace, fmt.Errorf("no answer for %s", grace))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { closeAll(clients) })
	defer stop()
	before, err := p.usage()
	if err != nil {
		return load{}, err
	}
	start := time.Now()
	gap := time.Second * time.Duration(len(clients)) / fixedRate
	took := make([][]time.Duration, len(clients))
	failed := make([]error, len(clients))
	var running sync.WaitGroup
	for i, c := range clients {
		running.Go(func() {
			done := time.Time{}
			for due := start.Add(gap * time.Duration(i) / time.Duration(len(clients))); due.Before(start.Add(d)); due = due.Add(gap) {
				began := due
				if done.Before(due) {
					time.Sleep(time.Until(due))
					began = time.Now() // a timer that is late is the generator's
				}
				if failed[i] = c.do(); failed[i] != nil {
					return
				}
				done = time.Now()
				took[i] = append(took[i], done.Sub(began))
			}
		})
	}
	running.Wait()
	elapsed := time.Since(start)
	after, err := p.usage()
	if ctx.Err() != nil {
		return load{}, context.Cause(ctx)
	}
	if err := errors.Join(err, first(failed)); err != nil {
		return load{}, err
	}
	l := load{elapsed: elapsed, latencies: slices.Concat(took...), cpu: after.cpu - before.cpu, rss: after.rss}
	l.done = len(l.latencies)
	slices.Sort(l.latencies)
	return l, nil
}
