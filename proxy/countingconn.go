package proxy

import (
	"net"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// countingConn counts the bytes that are read and written.
type countingConn struct {
	net.Conn
	read, written *atomic.Int64
}

// newCountingConn returns conn, whose bytes are added to read and written.
func newCountingConn(conn net.Conn, read, written *atomic.Int64) countingConn {
	return countingConn{conn, read, written}
}

// NetConn returns the connection beneath.
func (c countingConn) NetConn() net.Conn { return c.Conn }

// Read implements [io.Reader].
func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// Write implements [io.Writer].
func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// CloseWrite closes the sending side.
func (c countingConn) CloseWrite() error { return netconn.CloseWrite(c.Conn) }
