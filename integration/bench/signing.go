//go:build linux

package main

import (
	"context"
	"runtime"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/signer"
)

// fixedSession is a registered identity with a task.
type fixedSession struct{ session identity.Session }

var _ signer.Sessions = (*fixedSession)(nil)

// Session implements [signer.Sessions].
func (s *fixedSession) Session(context.Context, string) (identity.Session, error) {
	return s.session, nil
}

// TaskRejected implements [signer.Sessions].
func (s *fixedSession) TaskRejected(string, identity.Task) bool { return false }

// TaskRegistered implements [signer.Sessions].
func (s *fixedSession) TaskRegistered(string, identity.Task) time.Time { return time.Time{} }

// ClockOffset implements [signer.Sessions].
func (s *fixedSession) ClockOffset() time.Duration { return 0 }

func newFixedSession() (*fixedSession, error) {
	key, err := identity.GenerateKey()
	if err != nil {
		return nil, err
	}
	task := identity.Task{AgentRuntimeID: "agent-bench-0123456789abcdef", ID: "task-bench-0123456789abcdef"}
	id := &identity.Identity{AgentRuntimeID: task.AgentRuntimeID, Key: key, TaskID: task.ID}
	return &fixedSession{identity.Session{Identity: id, Task: task}}, nil
}

// signing prepares the signer by itself, within this process: for a request in a
// new second, which takes a signature, and for one in the same second.
func signing(_ context.Context, b *bench, _ *instance) (*session, error) {
	fixed, err := newFixedSession()
	if err != nil {
		return nil, err
	}
	var now time.Time
	s := signer.NewAgentAssertion(fixed, func() time.Time { return now })
	request := signer.Request{Host: chatgptHost, Path: pathJSON}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			now = time.Now()
			fresh, _, err := b.repeat(func() error {
				now = now.Add(time.Second)
				_, err := s.Sign(ctx, request)
				return err
			})
			if err != nil {
				return nil, err
			}
			cached, allocations, err := b.repeat(func() error {
				_, err := s.Sign(ctx, request)
				return err
			})
			if err != nil {
				return nil, err
			}
			return metrics{keyFresh: fresh, keyCached: cached, keyAllocs: allocations}, nil
		},
		close: func() {},
	}, nil
}

// repeat does work for a time and returns the microseconds and the allocations
// that it takes each time.
func (b *bench) repeat(work func() error) (us, allocations float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, start := 0, time.Now()
	for ; time.Since(start) < b.plan.sign; n++ {
		if err := work(); err != nil {
			return 0, 0, err
		}
	}
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	return micros(elapsed) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), nil
}
