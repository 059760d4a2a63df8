package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// h1Server serves intercepted connections that speak HTTP/1.1, each on one
// goroutine. net/http has a second one for every request, which watches for the
// client to go away, and stops it again by deadlines; that costs more than a
// short request does. It takes plain requests only, see [plainHead]. At the first
// one that is not, the connection becomes net/http's, as if nothing had been
// read of it; and so it does at once if the client speaks HTTP/2.
type h1Server struct {
	handler   http.HandlerFunc
	tls       *tls.Config
	others    *interceptListener // of net/http's server
	ctx       context.Context    // ends when connections are to be cut
	log       *log.Logger
	handshake time.Duration // the most that a handshake and the first request are waited for
	idle      time.Duration // the most that another request is
	linger    lingerLimits

	conns   *track.InFlight
	writers sync.Pool // of *bufio.Writer, which connections have while they answer

	draining atomic.Bool // set with mu held
	mu       sync.Mutex
	waiting  map[*h1ServerConn]struct{} // for a request
}

func newH1Server(p *Proxy, errorLog *log.Logger) *h1Server {
	limits := p.current().Limits
	return &h1Server{
		handler: p.serveIntercepted, tls: p.interceptedServer.TLSConfig.Clone(), others: p.intercepted, ctx: p.ctx, log: errorLog,
		handshake: limits.HandshakeTimeout, idle: limits.IdleTimeout, linger: lingerLimits{pause: 500 * time.Millisecond, most: 5 * time.Second},
		conns: track.NewInFlight(), waiting: make(map[*h1ServerConn]struct{}),
	}
}

// serve serves conn, until it ends or becomes net/http's.
func (s *h1Server) serve(conn *interceptedConn) {
	s.conns.Add(1)
	defer s.conns.Add(-1)
	ctx, cancel := context.WithCancel(context.WithValue(s.ctx, interceptedKey{}, conn))
	defer cancel()
	uncut := context.AfterFunc(ctx, func() { conn.Close() })
	defer uncut()

	t := tls.Server(conn, s.tls)
	_ = conn.SetDeadline(time.Now().Add(s.handshake))
	if err := t.Handshake(); err != nil { // which ends with ctx, for its connection does
		s.refuseHandshake(conn, err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	state := t.ConnectionState()
	if conn.tls = &state; state.NegotiatedProtocol == "h2" {
		s.handOver(t, uncut)
		return
	}
	c := &h1ServerConn{
		server: s, conn: t, ctx: ctx, cancel: cancel, peer: conn.RemoteAddr().String(), reader: bufio.NewReader(t),
	}
	if ahead := c.serve(); ahead != nil {
		s.handOver(&lingeringConn{PrefixConn: netconn.NewPrefixConn(t, ahead), conn: t, linger: s.linger}, uncut)
		return
	}
	_ = t.Close()
}

// handOver makes a connection net/http's.
func (s *h1Server) handOver(conn net.Conn, uncut func() bool) {
	if !uncut() || !s.others.deliver(conn) {
		_ = conn.Close()
	}
}

// refuseHandshake ends a connection whose client has not managed to speak TLS.
func (s *h1Server) refuseHandshake(conn *interceptedConn, err error) {
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader[:]) {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	s.log.Printf("http: TLS handshake error from %s: %v", conn.RemoteAddr(), err)
	_ = conn.Close()
}

func looksLikeHTTP(b []byte) bool {
	switch string(b) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// writerTo returns a writer to conn.
func (s *h1Server) writerTo(conn net.Conn) *bufio.Writer {
	if w, ok := s.writers.Get().(*bufio.Writer); ok {
		w.Reset(conn)
		return w
	}
	return bufio.NewWriter(conn)
}

// giveBack has others use w.
func (s *h1Server) giveBack(w *bufio.Writer) {
	w.Reset(nil)
	s.writers.Put(w)
}

// shutdown lets the requests that run end, and closes the connections that wait
// for one. After ctx it waits no longer.
func (s *h1Server) shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for c := range s.waiting {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	return s.conns.Wait(ctx)
}
