// Package h1server is a server of plain requests over HTTP/1.1 and TLS. It serves a
// connection on one goroutine, which is why it exists: net/http has a second one for every
// request, which watches for the client to go away and is stopped again by deadlines, and
// that costs more than a short request does. The parsing is that of net/http.
//
// What is out of the ordinary it hands over to another server, see [Server].
package h1server

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// Config says what a [Server] does. All fields are required.
type Config struct {
	// Handler answers requests.
	Handler http.Handler
	// TLS is for the handshake with clients.
	TLS *tls.Config
	// HandOver takes over the connections that need another server, and closes them.
	// They are past their handshake: one over which HTTP/2 is spoken, and which net/http
	// has to take for an unencrypted one, or a connection over HTTP/1.1 of which nothing
	// seems to have been read.
	HandOver func(net.Conn)
	// Heads bounds the heads of requests on them.
	Heads Heads
	// ConnContext returns the context of the requests on a connection, as that of
	// [http.Server] does. c has the method NetConn of [tls.Conn], and is for [StateOf].
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	// BaseContext ends when connections are to be cut.
	BaseContext context.Context
	// HandshakeTimeout bounds the wait for a handshake, and for the first request.
	HandshakeTimeout time.Duration
	// IdleTimeout bounds the wait for another request.
	IdleTimeout time.Duration
	// BriefWait is how long a connection waits for a request within crypto/tls, 0 for a
	// second. Then it waits below that, so that its stack shrinks at the next collection.
	BriefWait time.Duration
	// Linger bounds the wait for the rest of a request that has been answered.
	Linger Linger
	// ErrorLog is told what clients do wrong.
	ErrorLog *log.Logger
}

// Server serves connections over TLS that speak HTTP/1.1, as long as the requests on
// them are plain, see [fastPath]. At the first one that is not, it hands the connection
// over, as if nothing had been read of that request. It hands a connection over at once if
// the client speaks HTTP/2.
type Server struct {
	Config

	conns   *track.InFlight
	readers sync.Pool // of *bufio.Reader, which connections have while there is a request
	writers sync.Pool // of *bufio.Writer, which connections have while they answer

	draining atomic.Bool // set with mu held
	mu       sync.Mutex
	waiting  map[*serverConn]struct{} // for a request
}

// New returns a server for config.
func New(config Config) *Server {
	config.TLS = config.TLS.Clone()
	config.BriefWait = cmp.Or(config.BriefWait, time.Second)
	return &Server{Config: config, conns: track.NewInFlight(), waiting: make(map[*serverConn]struct{})}
}

// Serve serves conn until it ends or is handed over.
func (s *Server) Serve(conn net.Conn) {
	s.conns.Add(1)
	defer s.conns.Add(-1)
	defer func() {
		// As net/http does: what goes wrong with one connection is not to end the others.
		if v := recover(); v != nil {
			s.notePanic(conn, v)
			_ = conn.Close()
		}
	}()
	ctx, cancel := context.WithCancel(s.BaseContext)
	defer cancel()
	uncut := context.AfterFunc(ctx, func() { conn.Close() })
	defer uncut()

	t := tls.Server(conn, s.TLS)
	_ = conn.SetDeadline(time.Now().Add(s.HandshakeTimeout))
	if err := t.Handshake(); err != nil { // which ends with ctx, for its connection does
		s.refuseHandshake(conn, err)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	state := stateOf(t)
	heads := &HeadConn{Conn: t, heads: &s.Heads, linger: s.Linger, below: conn}
	if state.NegotiatedProtocol == "h2" {
		heads.frames = newFrames()
		s.handOver(&h2Conn{heads, heads, *state}, uncut)
		return
	}
	c := &serverConn{
		server: s, conn: t, tls: state, ctx: s.ConnContext(ctx, t), cancel: cancel, peer: conn.RemoteAddr().String(),
	}
	if ahead := c.serve(); ahead != nil {
		s.handOver(&lingeringConn{PrefixConn: netconn.NewPrefixConn(heads, ahead), conn: t, heads: heads, ctx: s.BaseContext, linger: s.Linger}, uncut)
		return
	}
	if !c.hijacked {
		_ = t.Close()
	}
}

// stateOf returns the state of t. It is not inlined, or [Server.Serve] would have room for a copy on its
// stack, which is what a connection that waits for a request holds.
//
//go:noinline
func stateOf(t *tls.Conn) *tls.ConnectionState {
	state := t.ConnectionState()
	return &state
}

// notePanic logs what was recovered while conn was served.
func (s *Server) notePanic(conn net.Conn, v any) {
	s.ErrorLog.Printf("http: panic serving %s: %v\n%s", conn.RemoteAddr(), v, debug.Stack())
}

// handOver hands a connection over, unless it is to be cut.
func (s *Server) handOver(conn net.Conn, uncut func() bool) {
	if !uncut() {
		_ = conn.Close()
		return
	}
	s.HandOver(conn)
}

// refuseHandshake ends a connection whose handshake failed with err.
func (s *Server) refuseHandshake(conn net.Conn, err error) {
	if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader[:]) {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	s.ErrorLog.Printf("http: TLS handshake error from %s: %v", conn.RemoteAddr(), err)
	_ = conn.Close()
}

// looksLikeHTTP reports whether b begins a request of HTTP.
func looksLikeHTTP(b []byte) bool {
	switch string(b) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// readerFrom returns a reader of r.
func (s *Server) readerFrom(r io.Reader) *bufio.Reader {
	if b, ok := s.readers.Get().(*bufio.Reader); ok {
		b.Reset(r)
		return b
	}
	return bufio.NewReader(r)
}

// writerTo returns a writer to conn.
func (s *Server) writerTo(conn net.Conn) *bufio.Writer {
	if w, ok := s.writers.Get().(*bufio.Writer); ok {
		w.Reset(conn)
		return w
	}
	return bufio.NewWriter(conn)
}

// giveBack lets other connections use w.
func (s *Server) giveBack(w *bufio.Writer) {
	w.Reset(nil)
	s.writers.Put(w)
}

// Shutdown closes the connections that wait for a request, and waits until all others
// have ended or been handed over. It returns ctx's error if ctx ends before.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for c := range s.waiting {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	return s.conns.Wait(ctx)
}
