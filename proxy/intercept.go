package proxy

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// interceptor speaks TLS and HTTP with clients in the name of the host that their
// CONNECT named. [h1server] serves most of HTTP/1.1, and net/http all the rest.
type interceptor struct {
	*Proxy
	h1     *h1server.Server
	others *netconn.Queue // which server serves
	server *http.Server
}

func newInterceptor(p *Proxy, errorLog *log.Logger) *interceptor {
	i := &interceptor{Proxy: p, others: netconn.NewQueue()}
	i.server = p.newServer(i, errorLog)
	i.server.ConnContext = interceptedContext
	i.server.Protocols = new(http.Protocols)
	i.server.Protocols.SetHTTP1(true)
	i.server.Protocols.SetUnencryptedHTTP2(true) // below it is TLS, which is h1's
	i.server.ConnState = i.connState
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Those of TLS 1.2 that fit the leaf's key, without crypto/tls's CBC ones.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			// The turn ends with the first Write, which is the answer to the hello.
			hello.Conn.(*interceptedConn).BeginTurn()
			return nil, nil
		},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			// Never for the server name of the hello, which the client chose.
			return p.current().Leaves.Leaf(hello.Conn.(*interceptedConn).target.Host)
		},
	}
	limits := p.current().Limits
	i.server.TLSConfig = config
	i.h1 = h1server.New(h1server.Config{
		Handler: i, TLS: config, HandOver: i.handOver, ConnContext: interceptedContext, BaseContext: p.life.ctx, ErrorLog: errorLog,
		HandshakeTimeout: limits.HandshakeTimeout, IdleTimeout: limits.IdleTimeout,
		Linger: h1server.Linger{Pause: 2 * time.Second, Total: 30 * time.Second},
		Heads:  p.headsInTunnels(limits.HeaderBytes),
	})
	p.life.serving.Go(func() { _ = i.server.Serve(i.others) })
	return i
}

// intercept answers the CONNECT of x and serves what follows on client. It returns
// before that ends.
func (i *interceptor) intercept(client net.Conn, x *exchange) {
	x.kind, x.status = KindConnect, http.StatusOK
	_ = client.SetWriteDeadline(time.Now().Add(refusalTimeout))
	if _, err := client.Write([]byte(connectEstablished)); err != nil {
		x.failure = "the client is gone"
		x.culprit.Name(cut.Client)
		client.Close()
		return
	}
	_ = client.SetWriteDeadline(time.Time{})
	conn := &interceptedConn{PacedConn: netconn.NewPacedConn(client, i.turns, track.Key{Kind: track.Label, Name: x.label}), target: x.target, pattern: x.pattern, admitted: x.admission}
	i.life.serving.Go(func() { i.h1.Serve(conn) })
}

// handOver gives net/http a connection that h1 does not serve.
func (i *interceptor) handOver(conn net.Conn) {
	if !i.others.Push(conn) {
		_ = conn.Close()
	}
}

// connState is told of the connections that were handed over.
func (i *interceptor) connState(conn net.Conn, state http.ConnState) {
	h1server.NoteHijack(conn, state)
	if state == http.StateIdle || state == http.StateClosed {
		i.live.idle(&interceptedBelow(conn).streams, state == http.StateClosed)
	}
}

// ServeHTTP implements [http.Handler]. It answers one request inside an intercepted
// tunnel.
func (i *interceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(interceptedKey{}).(*interceptedConn)
	x := i.begin(w, r, KindRequest)
	x.target, x.pattern, x.label, x.path = conn.target, conn.pattern, conn.admitted.Label, message.RawPath(r)
	x.admission, x.client = conn.admitted, conn
	if conn.heads != nil {
		conn.heads.BeginRequest()
		defer func() { conn.heads.EndRequest(x.bodyLeft.Load() && !x.stream) }()
	}
	if x.stream {
		x.Conn = &conn.streams
	}
	defer i.end(x)
	conn.BeginRequest(&x.turn, !x.stream)
	defer x.turn.End()
	if refused := i.admit(x, conn, r); refused != nil {
		x.refuse(refused)
		return
	}
	i.forward(x, r)
}

// admit decides whether the request of x is signed and sent on.
func (i *interceptor) admit(x *exchange, conn *interceptedConn, r *http.Request) (refused *refuse.Refusal) {
	if refused = i.live.add(x, r); refused != nil {
		return refused
	}
	if r.TLS == nil { // net/http does not see TLS below a connection that h1 has read from
		r.TLS = conn.tls
	}
	if refused = checkInner(x, conn, r); refused != nil {
		return refused
	}
	x.asked = askedBy(r.Header)
	if message.IsUpgrade(r) {
		x.asked.upgrade = strings.Join(r.Header["Upgrade"], ", ")
	}
	if refused = x.grant(r.Context()); refused != nil && r.Context().Err() != nil {
		x.failure = "cancelled"
		x.culprit.Name(cut.Client)
		panic(http.ErrAbortHandler)
	}
	return refused
}

// checkInner refuses a request inside a tunnel that is not to be signed whatever it
// asks for. First of all it refuses the requests of a tunnel that would not be opened
// any more: a configuration that forbids something does so at once.
func checkInner(x *exchange, conn *interceptedConn, r *http.Request) (refused *refuse.Refusal) {
	if refused = conn.admitted.Check(x.policy.clients); refused == nil {
		refused = x.checkSigned()
	}
	if refused != nil {
		refused.Closes = true
		return refused
	}
	if refused = x.policy.Limits.CheckFields(r.Header); refused != nil {
		return refused
	}
	if refused = checks.WellFormed(r); refused != nil {
		return refused
	}
	if refused = checks.Method(r.Method); refused != nil {
		return refused
	}
	return checks.Authority(x.target, r)
}

// interceptedConn is a client's connection after CONNECT to an intercepted host,
// below TLS.
type interceptedConn struct {
	*netconn.PacedConn
	target   hosts.Target
	pattern  string // of Config.Intercept that the target matched
	admitted *access.KeptAdmission
	tls      *tls.ConnectionState // nil while it is h1's
	heads    *h1server.HeadConn   // nil while it is h1's
	streams  live.Conn            // of HTTP/2
	records  netconn.Records
}

// Read implements [net.Conn].
func (c *interceptedConn) Read(p []byte) (int, error) { return c.records.Read(c.PacedConn, p) }

type interceptedKey struct{}

// interceptedContext returns the context of the requests on c, which speaks TLS over
// an intercepted connection.
func interceptedContext(ctx context.Context, c net.Conn) context.Context {
	conn := interceptedBelow(c)
	conn.tls, conn.heads = h1server.StateOf(c), h1server.HeadsOf(c)
	return context.WithValue(ctx, interceptedKey{}, conn)
}

// interceptedBelow returns the connection below c, which speaks TLS over it.
func interceptedBelow(c net.Conn) *interceptedConn {
	return c.(interface{ NetConn() net.Conn }).NetConn().(*interceptedConn)
}
