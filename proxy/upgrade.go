package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// upgradedUnread is what an upgraded exchange holds at most, in bytes: in either direction the
// largest buffer, and a record of TLS of each side.
const upgradedUnread = 2 * (message.MaxBuffer + 2*16<<10)

// prepareUpgrade gives the body of an upgraded exchange the CloseWrite of its connection, so that
// a client that has sent everything still gets a response. The body that [http.Transport] returns
// cannot be half closed. It returns an error, and the connection is closed, if the server switches
// to a protocol that was not asked for, or does so too early (RFC 9110, section 7.8).
func prepareUpgrade(res *http.Response) error {
	asked := res.Request.Header.Get("Upgrade")
	if asked == "" || !strings.EqualFold(asked, res.Header.Get("Upgrade")) {
		return message.Errorf("the server switched to a protocol that the client did not ask for")
	}
	x := exchangeOf(res.Request.Context())
	if x.bodyLeft.Load() {
		// A transport would go on to read it from the connection that the client's side of the
		// new protocol is read from, and its buffer.
		return message.Errorf("the server switched protocols before it had the whole request")
	}
	body, ok := res.Body.(io.ReadWriteCloser) // as [http.Transport] documents, if the response is whole
	if !ok {
		return message.Errorf("the server switched protocols without Connection: Upgrade")
	}
	x.answered(res.StatusCode) // switchProtocols writes it to the connection itself,
	x.webSocket.Store(true)
	x.server.Store(&x.upgraded)
	x.Unread.Store(upgradedUnread)
	res.Status = x.redactText(res.Status) // with these words
	res.Body = &upgradedBody{body, x.upgraded, x}
	return nil
}

// switchProtocols passes res on, which [prepareUpgrade] has prepared, and leaves to
// [exchange.goOn] whatever comes then from either side, until both have ended or one of them
// fails. Another goroutine may still be closing both after that, if the exchange was cut.
func (f *forwarder) switchProtocols(x *exchange, res *http.Response) {
	server := res.Body.(*upgradedBody)
	client, rw, err := x.Hijack()
	if err != nil {
		_ = server.Close()
		forwardFailed(x, res.Request, err)
		return
	}
	// What is below TLS is closed first, or it would wait for whoever does not read.
	closeConns := func() { contain.Do(x.Panicked, x.closeConns) }
	uncut := context.AfterFunc(res.Request.Context(), closeConns)
	res.Body = nil // its header alone is written
	// A panic is an error, or both would stay open.
	_, err = contain.Call(x.Panicked, func() (any, error) { return nil, x.culprit.Note(cut.Client, errors.Join(res.Write(rw), rw.Flush())) })
	uncut()
	closeBoth := func() { contain.Do(x.Panicked, func() { _, _ = client.Close(), server.Close() }) }
	pass := func(dst netconn.HalfCloser, src io.WriterTo) {
		if _, err := contain.Call(x.Panicked, func() (int64, error) { return netconn.Pass(dst, src) }); err != nil {
			closeBoth() // or the other direction would wait for a side that is gone
		}
	}
	x.goOn = func(ctx context.Context) {
		defer closeBoth()
		if err != nil {
			return
		}
		defer context.AfterFunc(ctx, func() { closeConns(); closeBoth() })()
		var up sync.WaitGroup
		up.Go(func() { pass(server, client.(*upgradedConn)) })
		pass(client.(*upgradedConn), server)
		up.Wait()
	}
}

// upgradedBody is the body of an upgraded exchange.
type upgradedBody struct {
	io.ReadWriteCloser
	conn net.Conn
	x    *exchange
}

// Read implements [io.Reader].
func (b *upgradedBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	if err == netconn.ErrNothingYet {
		return n, err
	}
	return n, b.x.culprit.Note(cut.Server, err)
}

// Write implements [io.Writer].
func (b *upgradedBody) Write(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Write(p)
	return n, b.x.culprit.Note(cut.Server, err)
}

// WriteTo implements [io.WriterTo].
func (b *upgradedBody) WriteTo(w io.Writer) (int64, error) {
	return b.x.buffers.Copy(w, b, netconn.SocketBelow(b.conn))
}

// CloseWrite closes the sending side.
func (b *upgradedBody) CloseWrite() error { return netconn.CloseWrite(b.conn) }

// upgradedConn is the client's connection of an upgraded exchange. It is one layer for all that
// is done to a message on its way, for each takes part in what an event costs.
type upgradedConn struct {
	netconn.Wrapper
	to    io.Writer // what the connection writes to
	write live.Write
	x     *exchange
	quiet time.Time // when Read gives up
}

// newUpgradedConn returns conn as the client's connection of x.
func newUpgradedConn(conn net.Conn, x *exchange) *upgradedConn {
	return &upgradedConn{Wrapper: netconn.Wrapper{Conn: conn}, to: h1server.WriterOf(conn), write: x.Entry.Write(), x: x}
}

// quietAfter is how long, at most, a client may send nothing before it is waited for without a
// buffer and below TLS, where a goroutine needs the smallest stack.
const quietAfter = time.Second

// Read implements [io.Reader]. It returns [netconn.ErrNothingYet] if the client sends nothing.
func (c *upgradedConn) Read(p []byte) (int, error) {
	if now := time.Now(); c.quiet.Sub(now) < quietAfter/2 {
		c.quiet = now.Add(quietAfter)
		_ = c.Conn.SetReadDeadline(c.quiet)
	}
	n, err := c.Conn.Read(p)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, netconn.ErrNothingYet
	}
	c.x.received.Add(int64(n))
	return n, c.x.culprit.Note(cut.Client, err)
}

// Write implements [io.Writer].
func (c *upgradedConn) Write(p []byte) (int, error) {
	c.write.Begin()
	n, err := c.to.Write(p)
	c.write.End()
	c.x.sent.Add(int64(n))
	if c.x.tap != nil {
		c.x.tap.Tap(p[:n])
	}
	return n, c.x.culprit.Note(cut.Client, err)
}

// Wait waits until the client sends something. The next Read returns what went wrong.
func (c *upgradedConn) Wait() {
	_ = c.Conn.SetReadDeadline(time.Time{})
	_ = netconn.WaitReadable(c.Conn)
}

// WriteTo implements [io.WriterTo].
func (c *upgradedConn) WriteTo(w io.Writer) (int64, error) { return c.x.buffers.Copy(w, c, nil) }
