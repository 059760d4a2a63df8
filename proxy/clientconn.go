package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// clientConn is a client's connection. It has a place among the connections of
// all clients until it is closed, and fails when the client takes no byte at all
// for a time.
type clientConn struct {
	net.Conn
	giveBack func() // its place
	stall    time.Duration

	mu       sync.Mutex
	deadline time.Time // for writing, as its owner has set it
	inForce  time.Time // the one that writing fails at
	closed   bool
	label    string // that it was last used with
	leave    func() // gives back its place among the label's; nil: it has none
}

// newClientConn returns conn, which fails when its client takes no byte for the
// time of stall, and calls giveBack when it is closed.
func newClientConn(conn net.Conn, stall time.Duration, giveBack func()) *clientConn {
	return &clientConn{Conn: conn, stall: stall, giveBack: giveBack}
}

// NetConn returns the connection beneath.
func (c *clientConn) NetConn() net.Conn { return c.Conn }

// Close implements [net.Conn].
func (c *clientConn) Close() error {
	err := c.Conn.Close()
	c.giveBack()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.leave != nil {
		c.leave()
	}
	return err
}

// join gives the connection a place among the most that label has, in exchange for
// the one that it had. It reports whether there was one.
func (c *clientConn) join(labels *track.Limiter, label string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.leave != nil && c.label == label {
		return true
	}
	leave := labels.Take(label, most)
	if leave == nil {
		return false
	}
	if c.leave != nil {
		c.leave()
	}
	c.label, c.leave = label, leave
	return true
}

// Write implements [net.Conn]. A client that takes some of p is waited for
// again, so that a stream lives on however slowly it is read.
func (c *clientConn) Write(p []byte) (n int, err error) {
	for {
		c.renewDeadline(time.Now())
		written, err := c.Conn.Write(p[n:])
		n += written
		if written == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.overdue() {
			return n, err
		}
	}
}

// ReadFrom implements [io.ReaderFrom], by which the kernel copies between two
// sockets. A tunnel holds no memory of the proxy while its client does not read,
// so it has no limit to that.
func (c *clientConn) ReadFrom(r io.Reader) (int64, error) {
	c.setDeadline(time.Time{})
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// WriteTo implements [io.WriterTo], for the same.
func (c *clientConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

// CloseWrite implements [halfCloser].
func (c *clientConn) CloseWrite() error { return closeWrite(c.Conn) }

// SetDeadline implements [net.Conn].
func (c *clientConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.inForce = t, t
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *clientConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.inForce = t, t
	return c.Conn.SetWriteDeadline(t)
}

// renewDeadline has writing fail when nothing was written for the stall's time, or
// up to a sixteenth less: setting a deadline costs more than many a write.
func (c *clientConn) renewDeadline(now time.Time) {
	c.mu.Lock()
	left := c.inForce.Sub(now)
	fresh := left > c.stall-c.stall/16 && left <= c.stall
	c.mu.Unlock()
	if !fresh {
		c.setDeadline(now.Add(c.stall))
	}
}

// setDeadline has writing fail at t, or at the owner's deadline if that is
// earlier.
func (c *clientConn) setDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || !c.deadline.IsZero() && c.deadline.Before(t) {
		t = c.deadline
	}
	c.inForce = t
	_ = c.Conn.SetWriteDeadline(t) // a connection without deadlines fails on its own
}

// overdue reports whether the owner's deadline has passed.
func (c *clientConn) overdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}
