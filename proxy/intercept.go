package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// interceptedConn is a client's connection after CONNECT to an intercepted
// host, before TLS.
type interceptedConn struct {
	net.Conn
	target   hosts.Target
	pattern  string // of Config.Intercept that the target matched
	admitted *access.KeptAdmission
	tls      *tls.ConnectionState // nil before the handshake
}

// NetConn returns the connection beneath.
func (c *interceptedConn) NetConn() net.Conn { return c.Conn }

// CloseWrite closes the sending side.
func (c *interceptedConn) CloseWrite() error { return netconn.CloseWrite(c.Conn) }

// interceptListener hands intercepted connections to an http.Server.
type interceptListener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newInterceptListener() *interceptListener {
	return &interceptListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *interceptListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// deliver hands c over, or reports that the listener is closed.
func (l *interceptListener) deliver(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.done:
		return false
	}
}

// Close implements [net.Listener].
func (l *interceptListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *interceptListener) Addr() net.Addr { return interceptAddr{} }

type interceptAddr struct{}

func (interceptAddr) Network() string { return "connect" }
func (interceptAddr) String() string  { return "intercepted" }

// handOver has net/http serve an intercepted connection.
func (p *Proxy) handOver(conn net.Conn) {
	if !p.intercepted.deliver(conn) {
		_ = conn.Close()
	}
}

// newInterceptServer returns the server of intercepted connections, in the name
// of the host that CONNECT named, that h1Server leaves to it. They are past their
// handshake.
func (p *Proxy) newInterceptServer() *http.Server {
	server := p.newServer(http.HandlerFunc(p.serveIntercepted))
	server.ConnContext = interceptedContext
	server.ConnState = h1server.NoteHijack
	server.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Those of TLS 1.2 that go with the leaf's key, without crypto/tls's CBC ones.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			// Never the server name of the hello: the client chose it.
			return p.current().Leaves.Leaf(hello.Conn.(*interceptedConn).target.Host)
		},
	}
	return server
}

type interceptedKey struct{}

// interceptedContext returns the context of the requests on c, which speaks TLS over
// an intercepted connection.
func interceptedContext(ctx context.Context, c net.Conn) context.Context {
	secured := c.(interface {
		NetConn() net.Conn
		ConnectionState() tls.ConnectionState
	})
	conn, state := secured.NetConn().(*interceptedConn), secured.ConnectionState()
	conn.tls = &state
	return context.WithValue(ctx, interceptedKey{}, conn)
}

// serveIntercepted answers one request inside an intercepted tunnel.
func (p *Proxy) serveIntercepted(w http.ResponseWriter, r *http.Request) {
	conn := r.Context().Value(interceptedKey{}).(*interceptedConn)
	x := p.begin(w, r, KindRequest)
	x.target, x.pattern, x.label = conn.target, conn.pattern, conn.admitted.Label
	x.admitted, x.client = conn.admitted, conn
	x.path = rawPath(r)
	defer p.end(x)
	p.live.add(x)
	if r.TLS == nil { // net/http does not see that a connection which was handed over is TLS
		r.TLS = conn.tls
	}

	if refused := x.checkTunnel(conn); refused != nil {
		refused.Closes = true
		x.refuse(refused)
		return
	}
	if refused := x.policy.Limits.checkFields(r.Header); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := checkWellFormed(r); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := checkMethod(r.Method); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := checkAuthority(x.target, r); refused != nil {
		x.refuse(refused)
		return
	}
	x.asked = askedBy(r.Header)
	if isUpgrade(r) {
		x.asked.upgrade = strings.Join(r.Header["Upgrade"], ", ")
	}
	if refused := x.grant(r.Context()); refused != nil {
		if r.Context().Err() != nil {
			x.failure = "cancelled"
			panic(http.ErrAbortHandler)
		}
		x.refuse(refused)
		return
	}
	p.forward(x, r)
}

// checkTunnel refuses a request inside a tunnel that would not be opened any
// more: a configuration that forbids something does so at once.
func (x *exchange) checkTunnel(conn *interceptedConn) *refuse.Refusal {
	if refused := conn.admitted.Check(x.policy.clients); refused != nil {
		return refused
	}
	return x.checkSigned()
}

// intercept serves an intercepted connection. It returns when the connection
// is in the hands of the server.
func (p *Proxy) intercept(client net.Conn, x *exchange) {
	x.kind, x.status = KindConnect, http.StatusOK
	_ = client.SetWriteDeadline(time.Now().Add(refusalTimeout))
	if _, err := client.Write([]byte(connectEstablished)); err != nil {
		x.failure = "the client is gone"
		client.Close()
		return
	}
	_ = client.SetWriteDeadline(time.Time{})
	conn := &interceptedConn{Conn: client, target: x.target, pattern: x.pattern, admitted: x.admitted}
	p.serving.Go(func() { p.h1.Serve(conn) })
}
