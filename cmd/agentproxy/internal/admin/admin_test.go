package admin

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
)

// flood is a listener to which as many connect as are accepted. None of them
// says anything.
type flood struct {
	accepted atomic.Int64
	closed   chan struct{}
}

func (l *flood) Accept() (net.Conn, error) {
	if l.accepted.Load() == 2*maxConns {
		<-l.closed
	}
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.accepted.Add(1)
	c, _ := net.Pipe()
	return c, nil
}

func (l *flood) Close() error {
	close(l.closed)
	return nil
}

func (l *flood) Addr() net.Addr { return &net.TCPAddr{} }

// TestConnections has no more connections at the admin listener than are
// of use, whoever opens them.
func TestConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &flood{closed: make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, l, &app.Reloader{}, NewMetrics()) }()
		synctest.Wait()
		if n := l.accepted.Load(); n != maxConns {
			t.Errorf("%d connections were accepted, want %d", n, maxConns)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
