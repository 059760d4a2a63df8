package netconn

import (
	"net"
	"sync"
)

// Queue is a [net.Listener] that accepts the connections which are pushed to it.
type Queue struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// NewQueue returns an empty queue, which must be closed.
func NewQueue() *Queue {
	return &Queue{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Push hands c over. It reports false if the queue is closed.
func (q *Queue) Push(c net.Conn) bool {
	select {
	case q.conns <- c:
		return true
	case <-q.done:
		return false
	}
}

// Accept implements [net.Listener].
func (q *Queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (q *Queue) Close() error {
	q.close.Do(func() { close(q.done) })
	return nil
}

// Addr implements [net.Listener].
func (q *Queue) Addr() net.Addr { return queueAddr{} }

type queueAddr struct{}

// Network implements [net.Addr].
func (queueAddr) Network() string { return "queue" }

// String implements [net.Addr].
func (queueAddr) String() string { return "queue" }
