package h1client

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPoolBounds keeps no more connections than it may, and none for too long.
func TestPoolBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, closed := newPool(), new(atomic.Int64)
		put := func(host string, n int) {
			for range n {
				if !pool.reserve(host) {
					t.Fatalf("%s has no room", host)
				}
				if c := newConn(pool, host, closeCounter{closed: closed}, nil); !pool.put(c) {
					c.close()
				}
			}
		}
		wantClosed := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := closed.Load(); got != want {
				t.Errorf("%d connections were closed, want %d", got, want)
			}
		}
		for i := range maxIdleUpstream / MaxPerHost {
			put(fmt.Sprint(i), MaxPerHost)
		}
		if pool.reserve("0") {
			t.Error("a host has more connections than it may")
		}
		put("one more", 1)
		wantClosed(1)
		time.Sleep(idleUpstreamTimeout + time.Second)
		wantClosed(1 + maxIdleUpstream)

		put("a", 3)
		time.Sleep(idleUpstreamTimeout / 2)
		put("a", 2)
		time.Sleep(idleUpstreamTimeout/2 + time.Second)
		wantClosed(1 + maxIdleUpstream + 3)
		pool.closeIdle()
		wantClosed(1 + maxIdleUpstream + 5)
		if pool.n+len(pool.idle)+len(pool.open) != 0 || pool.sweep != nil {
			t.Errorf("%d connections are kept for %d hosts, %d hosts have some, with a timer: %t", pool.n, len(pool.idle), len(pool.open), pool.sweep != nil)
		}
	})
}

// closeCounter is a connection that does nothing but count how often one is
// closed.
type closeCounter struct {
	net.Conn
	closed *atomic.Int64
}

func (c closeCounter) Close() error {
	c.closed.Add(1)
	return nil
}
