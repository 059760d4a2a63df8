//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// client does one piece of work at a time: a request, a connection, an echo.
type client interface {
	do() error
	close()
}

// load is what clients did, and what it took.
type load struct {
	done      int
	elapsed   time.Duration
	latencies []time.Duration // sorted
	cpu       time.Duration   // of the program
	rss       int64           // of the program, at the end
}

// grace is how long clients may take to end what they have begun when their time
// is over.
const grace = 20 * time.Second

// drive has every client do one piece of work after another for a time, and at
// least one. It fails if one of them does.
func drive(ctx context.Context, clients []client, d time.Duration, p *process) (load, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d+grace, fmt.Errorf("no answer for %s", grace))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { closeAll(clients) })
	defer stop()

	before, err := p.usage()
	if err != nil {
		return load{}, err
	}
	start := time.Now()
	end := start.Add(d)
	took := make([][]time.Duration, len(clients))
	failed := make([]error, len(clients))
	var running sync.WaitGroup
	for i, c := range clients {
		running.Go(func() {
			took[i] = make([]time.Duration, 0, 1024)
			for now := time.Now(); ; {
				began := now
				if failed[i] = c.do(); failed[i] != nil {
					return
				}
				now = time.Now()
				took[i] = append(took[i], now.Sub(began))
				if !now.Before(end) {
					return
				}
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

// first returns the first error of many that are likely the same.
func first(errs []error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

func closeAll(clients []client) {
	for _, c := range clients {
		c.close()
	}
}

// open makes n clients, a few at a time.
func open[C client](ctx context.Context, n int, newClient func(context.Context) (C, error)) ([]client, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]client, 0, n)
	var mu sync.Mutex
	var running sync.WaitGroup
	slots := make(chan struct{}, 16)
	for range n {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		running.Go(func() {
			defer func() { <-slots }()
			c, err := newClient(ctx)
			if err != nil {
				cancel(err) // the first one counts
				return
			}
			mu.Lock()
			defer mu.Unlock()
			clients = append(clients, c)
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		closeAll(clients)
		return nil, fmt.Errorf("connection %d of %d: %w", len(clients)+1, n, context.Cause(ctx))
	}
	return clients, nil
}

// quantile returns the value that a part of the sorted durations does not
// exceed (the nearest rank).
func quantile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(part * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// metrics are the figures of one round, by the keys of its scenario's columns.
type metrics map[string]float64

// perRequest are the figures of a load whose pieces are requests.
func (l load) perRequest() metrics {
	m := metrics{
		keyDone: float64(l.done),
		keyRate: float64(l.done) / l.elapsed.Seconds(),
		keyP50:  micros(quantile(l.latencies, 0.50)),
		keyP99:  micros(quantile(l.latencies, 0.99)),
	}
	if l.rss > 0 {
		m[keyCPU] = micros(l.cpu) / float64(l.done)
		m[keyRSS] = megabytes(l.rss)
	}
	return m
}

// perMegabyte are the figures of a load whose pieces move so many bytes each.
func (l load) perMegabyte(bytes int64) metrics {
	moved := megabytes(bytes) * float64(l.done)
	m := metrics{keyDone: moved, keyMBRate: moved / l.elapsed.Seconds()}
	if l.rss > 0 {
		m[keyMBCPU] = micros(l.cpu) / moved
		m[keyRSS] = megabytes(l.rss)
	}
	return m
}

func micros(d time.Duration) float64       { return float64(d) / float64(time.Microsecond) }
func megabytes(bytes int64) float64        { return float64(bytes) / 1e6 }
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
