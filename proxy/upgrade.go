package proxy

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// newUpgrader returns the handler that sends an upgrade on to its exchange's target,
// authorised as the exchange says. It answers as [forwarder.relay] does if the server
// does not upgrade.
func newUpgrader(buffers httputil.BufferPool, errorLog *log.Logger) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      resender{},
		FlushInterval:  -1, // every write
		BufferPool:     buffers,
		ModifyResponse: prepareResponse,
		ErrorHandler:   forwardFailed,
		ErrorLog:       errorLog,
	}
}

// upgradedUnread is what an upgraded exchange holds, in bytes: two buffers of io.Copy, and
// those of TLS on both sides.
const upgradedUnread = 128 << 10

// rewrite makes the outgoing request of the incoming one. It leaves everything else
// as it came.
func rewrite(r *httputil.ProxyRequest) {
	x := exchangeOf(r.In.Context())
	r.Out.URL = outgoingURL(r.In, x)
	r.Out.Host = r.In.Host
	keepForwarded(r.Out.Header, r.In.Header)
	message.ForwardTrailers(r.Out, r.In, credential.IsField)
	if x.auth != nil {
		credential.Authorize(r.Out.Header, x.auth)
	}
	if r.Out.Header.Get("Upgrade") != "" {
		// The body that http.Transport returns for an upgrade cannot be half closed.
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { x.upgraded = info.Conn }}
		r.Out = r.Out.WithContext(httptrace.WithClientTrace(r.Out.Context(), trace))
	}
}

// keepForwarded puts back the fields that [httputil.ReverseProxy] drops by itself:
// this proxy does not edit what a client says about itself.
func keepForwarded(out, in http.Header) {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := in[name]; ok {
			out[name] = values
		}
	}
}

// prepareUpgrade gives the body of an upgraded exchange the CloseWrite of its
// connection, so that a client that has sent everything still gets a response. It
// returns an error, and the connection is closed, if the server switches to a protocol
// that was not asked for, or does so too early (RFC 9110, section 7.8).
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
	x.answered(res.StatusCode) // ReverseProxy writes it to the connection itself,
	x.webSocket.Store(true)
	x.Unread.Store(upgradedUnread)
	res.Status = x.redactText(res.Status) // with these words
	if body, ok := res.Body.(io.ReadWriteCloser); ok && x.upgraded != nil {
		res.Body = &upgradedBody{body, x.upgraded, x}
	}
	return nil
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
	var socket *netconn.Socket
	if secured, ok := b.conn.(interface{ NetConn() net.Conn }); ok {
		socket, _ = secured.NetConn().(*netconn.Socket)
	}
	return b.x.buffers.Copy(w, b, socket)
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
}

// newUpgradedConn returns conn as the client's connection of x.
func newUpgradedConn(conn net.Conn, x *exchange) *upgradedConn {
	return &upgradedConn{netconn.Wrapper{Conn: conn}, h1server.WriterOf(conn), x.Entry.Write(), x}
}

// Read implements [io.Reader].
func (c *upgradedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
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

// WriteTo implements [io.WriterTo].
func (c *upgradedConn) WriteTo(w io.Writer) (int64, error) { return c.x.buffers.Copy(w, c, nil) }
