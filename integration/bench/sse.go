//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// stream receives server-sent events.
type stream struct {
	*h1Client
	first  time.Duration   // from the request to the first event
	delays []time.Duration // of the other events, from the server's send to the client's receipt
}

// events prepares as many connections as the plan has streams. In a round each
// asks for one stream, all of them spread over a second.
func events(ctx context.Context, b *bench, i *instance) (*session, error) {
	return b.eventsOf(ctx, i, "GET", pathEvents, "Accept: text/event-stream")
}

func (b *bench) eventsOf(ctx context.Context, i *instance, method, path string, headers ...string) (*session, error) {
	path = fmt.Sprintf("%s?events=%d&gap=%s", path, b.plan.events, b.plan.eventGap)
	clients, err := open(ctx, b.plan.streams, func(ctx context.Context) (*stream, error) {
		c, err := i.newH1(ctx, method, path, headers...)
		return &stream{h1Client: c}, err
	})
	if err != nil {
		return nil, err
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) { return b.eventRound(ctx, i, clients) },
		close: func() { closeAll(clients) },
	}, nil
}

func (b *bench) eventRound(ctx context.Context, i *instance, clients []client) (metrics, error) {
	lasts := b.plan.openRound + time.Duration(b.plan.events)*b.plan.eventGap
	ctx, cancel := context.WithTimeoutCause(ctx, lasts+grace, errors.New("the streams do not end"))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { closeAll(clients) })
	defer stop()
	before, err := i.process.usage()
	if err != nil {
		return nil, err
	}
	failed := make([]error, len(clients))
	var running sync.WaitGroup
	start := time.Now()
	for n, c := range clients {
		running.Go(func() {
			time.Sleep(time.Until(start.Add(b.plan.openRound * time.Duration(n) / time.Duration(len(clients)))))
			failed[n] = c.(*stream).receive(b.plan.events)
		})
	}
	running.Wait()
	after, err := i.process.usage()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(err, first(failed)); err != nil {
		return nil, err
	}
	var firsts, delays []time.Duration
	for _, c := range clients {
		firsts = append(firsts, c.(*stream).first)
		delays = append(delays, c.(*stream).delays...)
	}
	slices.Sort(firsts)
	slices.Sort(delays)
	m := metrics{
		keyDone:     float64(len(firsts) + len(delays)),
		keyFirstP50: micros(quantile(firsts, 0.50)), keyFirstP99: micros(quantile(firsts, 0.99)),
		keyP50: micros(quantile(delays, 0.50)), keyP99: micros(quantile(delays, 0.99)),
	}
	if i.process != nil {
		m[keyCPU] = micros(after.cpu-before.cpu) / float64(len(firsts)+len(delays))
		m[keyRSS] = megabytes(after.rss)
	}
	return m, nil
}

// receive asks for a stream and reads it to its end.
func (s *stream) receive(events int) error {
	s.delays = s.delays[:0]
	asked := time.Now()
	if _, err := s.conn.Write(s.request); err != nil {
		return err
	}
	a, err := readAnswer(s.reader)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(a.body(s.reader))
	received := 0
	for lines.Scan() {
		sent, ok, err := eventTime(lines.Bytes())
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if received++; received == 1 {
			s.first = time.Since(asked)
		} else {
			s.delays = append(s.delays, time.Since(epoch)-sent)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if received != events {
		return fmt.Errorf("a stream had %d events of %d", received, events)
	}
	if a.chunked {
		return skipTrailer(s.reader)
	}
	return nil
}

// eventTime returns when the event of a line was sent, if it is the line of an
// event's data.
func eventTime(line []byte) (sent time.Duration, ok bool, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(`data: {"sent":`))
	if !ok {
		return 0, false, nil
	}
	number, _, _ := bytes.Cut(rest, []byte(","))
	n, err := strconv.ParseInt(string(number), 10, 64)
	return time.Duration(n), true, err
}
