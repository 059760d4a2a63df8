package proxy

import (
	"bufio"
	"context"
	"maps"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// exchange is one request and its response, or one tunnel. It is the
// [http.ResponseWriter] of the response, and counts what the client is sent.
type exchange struct {
	http.ResponseWriter
	facts
	signing
	traffic
	policy *policy // in force when the exchange began
	// strangers count the refusal if its client was not let in.
	strangers strangers
	stranger  bool
	live.Entry
}

// facts is what is known of a request. Nothing of it changes once the request is
// sent on.
type facts struct {
	kind      string                // one of the kinds in front.go
	peer      string                // the client's address
	label     string                // the session label
	admission *access.KeptAdmission // nil for what gateways ask
	client    net.Conn              // to the client, which is closed to cut the exchange
	method    string
	path      string // byte for byte as it was sent, without the query
	target    hosts.Target
	pattern   string // of Config.Intercept that the target matched, "" for others
	asked     asked
	// finalOnly: the client is sent no 1xx responses, of which HTTP/1.0 has none (RFC 9110,
	// section 15.2).
	finalOnly bool
}

// signing is how a request is authorised.
type signing struct {
	profile    *profile // of the label
	credential signer.Kind
	outOfScope *OutOfScope           // nil: it is in scope
	auth       *signer.Authorization // nil: nothing has authorised it
	former     *signer.Authorization // what the server refused with 401 before auth
	endStream  func()                // gives its place back, nil if it has none
	turn       track.Turn            // until the request is sent on, if it needs one
}

// traffic is what has become of an exchange so far.
type traffic struct {
	started    time.Time
	firstByte  time.Duration // from the beginning to the response's header
	status     int
	sent       atomic.Int64             // to the client
	received   atomic.Int64             // from the client
	bodyLeft   atomic.Bool              // something of the client's request may be unread
	webSocket  atomic.Bool              // the server has switched protocols
	connecting upstream.Connecting      // to the server
	upgraded   net.Conn                 // to the server, of a request for an upgrade
	server     atomic.Pointer[net.Conn] // of an upgraded exchange and a tunnel, which no other has
	buffers    *message.Buffers         // of all
	tap        tap                      // reads the response along, nil if nobody does
	stream     bool                     // of HTTP/2, and not all that its connection carries
	cut        atomic.Pointer[string]   // why another goroutine has cut it; nil: none has
	refused    atomic.Pointer[refuse.Refusal]
	unlogged   bool   // the refusal is counted, and not written down by itself
	failure    string // why an exchange that had begun was cut
	culprit    cut.Culprit
	goOn       func(context.Context) // when the handler has returned, whose stack would last as long
}

// answered notes that the response's header is on its way.
func (t *traffic) answered(status int) { t.status, t.firstByte = status, time.Since(t.started) }

type exchangeKey struct{}

// exchangeOf returns the exchange that a request belongs to, ctx being the context
// of the request.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// refuse answers with r and notes it for the logs.
func (x *exchange) refuse(r *refuse.Refusal) {
	x.refuseWith(r)
	r.Serve(x)
}

// WriteHeader implements [http.ResponseWriter], for final responses.
func (x *exchange) WriteHeader(status int) {
	x.answered(status)
	h := x.Header()
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // or net/http guesses one
	}
	if x.bodyLeft.Load() && !x.stream {
		// net/http reads what is left when it is too late: it panics then
		// (connReader.Read), and closes the connection without a word.
		h["Connection"] = []string{"close"}
	}
	x.ResponseWriter.WriteHeader(status)
}

// WriteInterim implements [interim.Client].
func (x *exchange) WriteInterim(status int, fields http.Header) {
	x.BeginWrite()
	defer x.EndWrite()
	h := x.Header()
	maps.Copy(h, fields)
	// Over HTTP/2, net/http may read the header after WriteHeader has returned, if the client is
	// gone. It takes a copy of one with a length, which no 1xx response has.
	h["Content-Length"] = nil
	x.ResponseWriter.WriteHeader(status)
	clear(h)
}

// Panicked implements [interim.Client] and [message.FlushWriter].
func (x *exchange) Panicked(e *contain.PanicError) { x.policy.panicked(e) }

// Write implements [http.ResponseWriter].
func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.answered(http.StatusOK)
	}
	x.BeginWrite()
	n, err := x.ResponseWriter.Write(p)
	_ = x.culprit.Note(cut.Client, err)
	x.EndWrite()
	x.sent.Add(int64(n))
	return n, err
}

// FlushError implements the method that [http.ResponseController.Flush] calls.
func (x *exchange) FlushError() error {
	x.BeginWrite()
	defer x.EndWrite()
	if w, ok := x.ResponseWriter.(interface{ FlushError() error }); ok {
		return w.FlushError()
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Cut implements [live.Exchange].
func (x *exchange) Cut(reason string) {
	x.cut.CompareAndSwap(nil, &reason)
	if !x.stream || x.Lingers() {
		x.closeConns()
		return
	}
	// Resets the stream, and so ends the request's context.
	_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}

// closeConns closes the exchange's connections without waiting for anybody. A server that does not
// read would keep that of the client from being read, too, and its end from being seen.
func (x *exchange) closeConns() {
	_ = x.client.Close() // first, or what goes on with the other meanwhile might not see it
	if server := x.server.Load(); server != nil {
		netconn.CloseBelow(*server)
	}
}

// Unwrap implements the method that [http.ResponseController] calls.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// Hijack implements [http.Hijacker]. net/http returns what its server has read too
// far in a separate reader, which goproxy drops. Here the
// connection returns it, so that a client may send its ClientHello together with
// its CONNECT.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn = netconn.Unread(conn, rw.Reader)
	switch {
	case x.webSocket.Load():
		conn = newUpgradedConn(conn, x)
	case x.kind != KindTunnel: // whose bytes are counted while they are copied
		conn = netconn.NewCountingConn(conn, &x.received, &x.sent)
	}
	return conn, bufio.NewReadWriter(bufio.NewReaderSize(conn, 0), rw.Writer), nil // which nobody reads from
}

// level returns the level of the exchange's line in the access log.
func (x *exchange) level() zerolog.Level {
	switch refused := x.refused.Load(); {
	case refused != nil && refused.Challenge:
		return zerolog.DebugLevel
	case refused != nil, x.outOfScope != nil:
		return zerolog.WarnLevel
	case x.kind == KindConnect: // each request inside has a line of its own
		return zerolog.DebugLevel
	}
	return zerolog.InfoLevel
}

// log writes the exchange's line in the access log. No line has a header field, a
// query or a body in it.
func (x *exchange) log(l *zerolog.Logger) {
	if x.unlogged {
		return
	}
	event := l.WithLevel(x.level())
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
	event.Str("method", checks.Shortened(x.method, checks.MaxMethod))
	if x.path != "" {
		event.Str("path", checks.Shortened(x.path, checks.MaxPath))
	}
	if x.auth != nil {
		event.Str("signed", string(x.auth.Scheme))
	}
	if x.former != nil {
		event.Bool("retried", true)
	}
	if x.outOfScope != nil {
		event.Str("out_of_scope", string(x.outOfScope.Reason))
	}
	event.Int("status", x.status).
		Int64("received", x.received.Load()).
		Int64("sent", x.sent.Load()).
		Dur("duration", time.Since(x.started))
	if refused := x.refused.Load(); refused != nil {
		event.Str("refused", refused.Code).Str("reason", refused.Message)
	}
	if x.failure != "" {
		event.Str("failure", x.failure).Str("cut_by", x.culprit.Side())
	}
	event.Msg("exchange")
}
