// Package netconn wraps network connections: one that fails when its peer stops
// reading ([StallConn]), one that returns bytes again that were read too far
// ([PrefixConn]), and what is done to any: closing one side, finding the socket
// and corking it, and the TLS handshake with a server.
//
// Every wrapper embeds [Wrapper], whose method NetConn returns the connection beneath,
// as that of [crypto/tls.Conn] does: code that needs the socket finds it without knowing
// the wrappers.
package netconn

import (
	"io"
	"net"
)

// Wrapper is a connection around another one. Types embed it and replace some methods.
type Wrapper struct{ net.Conn }

// NetConn returns the connection beneath.
func (w Wrapper) NetConn() net.Conn { return w.Conn }

// CloseWrite closes the sending side.
func (w Wrapper) CloseWrite() error { return CloseWrite(w.Conn) }

// CloseWrite closes the sending side of conn, so that the peer reads the end. It
// closes conn if that cannot be half closed.
func CloseWrite(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return conn.Close()
}

// HalfCloser is what is written to, and then half closed.
type HalfCloser interface {
	io.Writer
	CloseWrite() error
}

// Pass writes what src has to dst, which it half closes behind that.
func Pass(dst HalfCloser, src io.WriterTo) (n int64, err error) {
	if n, err = src.WriteTo(dst); err == nil {
		err = dst.CloseWrite()
	}
	return n, err
}

// CloseBelow closes what is below all that is around conn. It tells the peer nothing and waits for
// nobody: TLS would wait for a peer that does not read.
func CloseBelow(conn net.Conn) {
	for {
		c, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			_ = conn.Close()
			return
		}
		conn = c.NetConn()
	}
}

// SocketBelow returns the [Socket] right below conn, which speaks TLS, or nil.
func SocketBelow(conn net.Conn) *Socket {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok {
		socket, _ := c.NetConn().(*Socket)
		return socket
	}
	return nil
}

// EndTurn ends the turn that the goroutine which reads from conn may have.
func EndTurn(conn net.Conn) {
	if c, ok := conn.(interface{ EndTurn() }); ok {
		c.EndTurn()
	}
}

// quick returns conn as a [Socket] if it can be one.
func quick(conn net.Conn) net.Conn {
	if s, err := NewSocket(conn); err == nil {
		return s
	}
	return conn
}

// ErrNothingYet is the error of a read of a [Socket], or of what is around one, that does not wait, and for which nothing
// has come. It is temporary, so that crypto/tls goes on after it.
var ErrNothingYet error = nothingYet{}

type nothingYet struct{}

// Error implements [error].
func (nothingYet) Error() string { return "nothing has come yet" }

// Timeout implements [net.Error].
func (nothingYet) Timeout() bool { return true }

// Temporary implements [net.Error].
func (nothingYet) Temporary() bool { return true }

// renamed returns err with the name of the operation that failed.
func renamed(err error, op string) error {
	if e, ok := err.(*net.OpError); ok {
		e.Op = op
	}
	return err
}
