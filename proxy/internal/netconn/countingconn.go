package netconn

import (
	"net"
	"sync/atomic"
)

// CountingConn counts the bytes that are read and written.
type CountingConn struct {
	Wrapper
	read, written *atomic.Int64
}

// NewCountingConn returns conn, whose bytes are added to read and written.
func NewCountingConn(conn net.Conn, read, written *atomic.Int64) CountingConn {
	return CountingConn{Wrapper{conn}, read, written}
}

// Read implements [io.Reader].
func (c CountingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

// Write implements [io.Writer].
func (c CountingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}
