package h1server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// Linger bounds the wait for the rest of a request that has been answered: a connection
// that is closed before may lose the response (RFC 9112, section 9.6).
type Linger struct {
	Pause time.Duration // between two pieces of it
	Total time.Duration
}

// closeWrite closes the sending side and reads on until the client closes the connection,
// pauses or has gone on for long. It ignores what comes, so that nothing needs to be
// decrypted.
func (l Linger) closeWrite(conn *tls.Conn) {
	socket := conn.NetConn()
	if conn.CloseWrite() != nil || netconn.CloseWrite(socket) != nil {
		return
	}
	buffer, end := make([]byte, 32<<10), time.Now().Add(l.Total)
	for {
		now := time.Now()
		if !now.Before(end) {
			return
		}
		by := now.Add(l.Pause)
		if by.After(end) {
			by = end
		}
		if socket.SetReadDeadline(by) != nil {
			return
		}
		if _, err := socket.Read(buffer); err != nil {
			return
		}
	}
}

// lingeringConn is a connection over HTTP/1.1 that net/http serves. Where net/http does not
// read a request to its end it calls CloseWrite, and then waits without reading, so that the
// rest of the request resets the connection. Or it closes at once, if the body was being
// read when the response ended.
type lingeringConn struct {
	*netconn.PrefixConn
	conn     *tls.Conn
	heads    *HeadConn
	ctx      context.Context // ends when the connection is to be cut
	linger   Linger
	lingered atomic.Bool
	hijacked atomic.Bool // by an upgrade, whose ends end by themselves
}

// NetConn returns the connection below TLS.
func (c *lingeringConn) NetConn() net.Conn { return c.conn.NetConn() }

// ConnectionState returns the state of TLS.
func (c *lingeringConn) ConnectionState() tls.ConnectionState { return c.conn.ConnectionState() }

// CloseWrite closes the sending side, and gives the client time to read.
func (c *lingeringConn) CloseWrite() error {
	if c.hijacked.Load() {
		return c.PrefixConn.CloseWrite()
	}
	c.lingered.Store(true)
	c.linger.closeWrite(c.conn)
	return nil
}

// Close closes the connection, after it has given the client time to read the response to
// a request that was not read to its end.
func (c *lingeringConn) Close() error {
	if c.heads.bodyLeft() && c.ctx.Err() == nil && !c.hijacked.Load() && !c.lingered.Swap(true) {
		defer context.AfterFunc(c.ctx, func() { _ = c.conn.NetConn().Close() })()
		c.linger.closeWrite(c.conn)
	}
	return c.PrefixConn.Close()
}

// NoteHijack is for [http.Server.ConnState] of the server that connections are handed
// over to. The ends of an upgrade end by themselves, and what comes then has no heads.
func NoteHijack(conn net.Conn, state http.ConnState) {
	if c, ok := conn.(*lingeringConn); ok && state == http.StateHijacked {
		c.heads.noMore()
		c.hijacked.Store(true)
	}
}
