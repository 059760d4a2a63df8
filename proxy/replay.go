package proxy

import (
	"bufio"
	"io"
	"net"
)

// replayConn is a connection whose first bytes were already read.
type replayConn struct {
	net.Conn
	ahead []byte
}

// withReplay returns conn as it was before r read ahead on it.
func withReplay(conn net.Conn, r *bufio.Reader) net.Conn {
	n := r.Buffered()
	if n == 0 {
		return conn
	}
	ahead, _ := r.Peek(n)
	return &replayConn{Conn: conn, ahead: append([]byte(nil), ahead...)}
}

// NetConn returns the connection beneath.
func (c *replayConn) NetConn() net.Conn { return c.Conn }

// Read implements [io.Reader].
func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	c.ahead = c.ahead[n:]
	return n, nil
}

// WriteTo sends what was read ahead and then leaves the copying to the
// connection itself, which can splice.
func (c *replayConn) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(c.ahead)
	c.ahead = c.ahead[n:]
	if err != nil {
		return int64(n), err
	}
	rest, err := io.Copy(w, c.Conn)
	return int64(n) + rest, err
}

// ReadFrom leaves the copying to the connection itself, too.
func (c *replayConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// CloseWrite implements [halfCloser].
func (c *replayConn) CloseWrite() error { return closeWrite(c.Conn) }

// halfCloser is a connection whose sending side can be closed by itself.
type halfCloser interface{ CloseWrite() error }

// closeWrite says to the other end that nothing more will be sent. Where that
// cannot be said, the connection is closed.
func closeWrite(conn net.Conn) error {
	if c, ok := conn.(halfCloser); ok {
		return c.CloseWrite()
	}
	return conn.Close()
}
