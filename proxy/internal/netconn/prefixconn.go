package netconn

import (
	"bufio"
	"bytes"
	"io"
	"net"
)

// PrefixConn is a connection whose first bytes were already read. Reading from it
// returns them again.
type PrefixConn struct {
	Wrapper
	ahead []byte
}

// NewPrefixConn returns conn with ahead in front of what is still to be read. It
// keeps ahead.
func NewPrefixConn(conn net.Conn, ahead []byte) *PrefixConn {
	return &PrefixConn{Wrapper: Wrapper{conn}, ahead: ahead}
}

// Unread returns conn as it was before r read ahead on it.
func Unread(conn net.Conn, r *bufio.Reader) net.Conn {
	n := r.Buffered()
	if n == 0 {
		return conn
	}
	ahead, _ := r.Peek(n)
	return NewPrefixConn(conn, bytes.Clone(ahead))
}

// Read implements [io.Reader].
func (c *PrefixConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// WriteTo implements [io.WriterTo]. After the prefix it leaves the copying to the
// connection itself, which may splice(2).
func (c *PrefixConn) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(c.ahead)
	c.ahead = c.ahead[n:]
	if err != nil {
		return int64(n), err
	}
	rest, err := io.Copy(w, c.Conn)
	return int64(n) + rest, err
}

// ReadFrom implements [io.ReaderFrom]. It leaves the copying to the connection.
func (c *PrefixConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }
