package proxy

import (
	"net"
	"sync"
)

// connQueue is a [net.Listener] that accepts the connections which are pushed to it.
type connQueue struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newConnQueue() *connQueue {
	return &connQueue{conns: make(chan net.Conn), done: make(chan struct{})}
}

// push hands c over. It reports false if the queue is closed.
func (q *connQueue) push(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept implements [net.Listener].
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *connQueue) Close() error {
	q.close.Do(func() { close(q.done) })
	return nil
}

// Addr implements [net.Listener].
func (q *connQueue) Addr() net.Addr { return queueAddr{} }

type queueAddr struct{}

// Network implements [net.Addr].
func (queueAddr) Network() string { return "queue" }

// String implements [net.Addr].
func (queueAddr) String() string { return "queue" }
