package proxy

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// exchange is one request and its answer, or one tunnel: what the access log
// says of it, and what the parts of the data path tell each other.
type exchange struct {
	http.ResponseWriter // counts what is sent to the client
	watched

	policy  *policy
	profile *profile // of the label
	target  hosts.Target
	label   string
	// admitted is why the client was let in, nil for what gateways ask.
	admitted *access.KeptAdmission
	client   net.Conn    // to the client, which is closed to cut the exchange
	revoked  atomic.Bool // it was, for the client would not be let in any more
	peer     string      // the client's address
	asked    asked
	// credential is the kind that the scope has decided on.
	credential signer.Kind
	outOfScope *OutOfScope // nil: it is in scope
	auth       *signer.Authorization
	former     *signer.Authorization // what was refused with 401 before auth
	// upgraded is the connection to the server of an upgraded exchange.
	upgraded net.Conn
	stall    *stall
	tap      tap           // nil: nobody reads along
	auditor  audit.Auditor // nil: nobody is told
	warnings *zerolog.Logger

	started  time.Time
	method   string
	path     string
	http10   bool   // the client speaks HTTP/1.0
	kind     string // one of the kinds in front.go
	status   int
	sent     atomic.Int64 // to the client
	received atomic.Int64 // from the client
	// bodyLeft says that something of the client's HTTP/1 request may not have
	// been read.
	bodyLeft atomic.Bool
	refused  *refuse.Refusal
	retried  bool   // it was sent again after a 401
	failure  string // why an exchange that had begun was cut
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// refuse answers with r and notes it for the log.
func (x *exchange) refuse(r *refuse.Refusal) {
	x.refuseWith(r)
	r.Serve(x)
}

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	if status == http.StatusContinue {
		return // net/http says it when the body is first read
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		x.answered(status)
		if h := x.Header(); h["Content-Type"] == nil {
			h["Content-Type"] = nil // or net/http guesses one
		}
		if x.bodyLeft.Load() && status != http.StatusSwitchingProtocols {
			// net/http reads what is left when it is too late: it panics then
			// (connReader.Read), and closes the connection without a word.
			x.Header()["Connection"] = []string{"close"}
		}
	}
	if status < 200 {
		if x.http10 {
			return // which has no informational answers (RFC 9110, 15.2)
		}
		// Nobody else sees the headers before the answer's.
		message.RemoveHopByHop(x.Header())
		x.redact(x.Header())
		// Over HTTP/2, net/http may read the header when this has returned, if the
		// client is gone. With a length, which is for no such answer, it takes a copy.
		x.Header()["Content-Length"] = nil
	}
	x.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.answered(http.StatusOK)
	}
	x.stall.begin()
	n, err := x.ResponseWriter.Write(p)
	x.stall.end()
	x.sent.Add(int64(n))
	return n, err
}

// FlushError is what [http.ResponseController.Flush] calls.
func (x *exchange) FlushError() error {
	x.stall.begin()
	defer x.stall.end()
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController].
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack implements [http.Hijacker] and loses nothing: net/http returns what its
// server had already read in a separate reader, which those who hijack a
// connection tend to drop, goproxy and httputil.ReverseProxy among them. A
// client that sends its ClientHello together with its CONNECT would wait for
// ever.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn = netconn.Unread(conn, rw.Reader)
	if x.kind != KindTunnel { // whose bytes are counted by whoever copies them
		conn = countingConn{conn, x}
	}
	return conn, bufio.NewReadWriter(bufio.NewReader(conn), rw.Writer), nil
}

// countingConn counts the bytes of an upgraded exchange.
type countingConn struct {
	net.Conn
	x *exchange
}

func (c countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.x.received.Add(int64(n))
	return n, err
}

func (c countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.x.sent.Add(int64(n))
	c.x.tapped(p[:n])
	return n, err
}

// CloseWrite closes the sending side.
func (c countingConn) CloseWrite() error { return netconn.CloseWrite(c.Conn) }

// log writes the exchange's line in the access log. No line ever holds a
// header, a query or a body.
func (x *exchange) log(l *zerolog.Logger) {
	event := l.Info()
	switch {
	case x.refused != nil && x.refused.Challenge:
		event = l.Debug()
	case x.refused != nil, x.outOfScope != nil:
		event = l.Warn()
	case x.kind == KindConnect: // each request inside has a line of its own
		event = l.Debug()
	}
	if !event.Enabled() {
		event.Discard()
		return
	}
	event.Str("kind", x.kind)
	if x.label != "" {
		event.Str("client", x.label)
	}
	if x.profile != nil && x.profile.Name != "" {
		event.Str("profile", x.profile.Name)
	}
	if x.target != (hosts.Target{}) {
		event.Str("host", x.target.Authority())
	}
	event.Str("method", x.method)
	if x.path != "" {
		event.Str("path", x.path)
	}
	if x.auth != nil {
		event.Str("signed", string(x.auth.Scheme))
	}
	if x.retried {
		event.Bool("retried", true)
	}
	if x.outOfScope != nil {
		event.Str("out_of_scope", string(x.outOfScope.Reason))
	}
	event.Int("status", x.status).
		Int64("received", x.received.Load()).
		Int64("sent", x.sent.Load()).
		Dur("duration", time.Since(x.started))
	if x.refused != nil {
		event.Str("refused", x.refused.Code).Str("reason", x.refused.Message)
	}
	if x.failure != "" {
		event.Str("failure", x.failure)
	}
	event.Msg("exchange")
}
