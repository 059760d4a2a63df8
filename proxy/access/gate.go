package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

const (
	// maxTurnedAway bounds the connections that are waited for at the same time, to tell them why
	// they are not served.
	maxTurnedAway = 32
	// turnAwayTimeout bounds the time that one takes.
	turnAwayTimeout = 2 * time.Second
)

// Gate turns connections away before a byte of them is read, so that nothing is held for
// whoever may not enter.
type Gate struct {
	// Users returns who may enter now. nil lets everyone in.
	Users func() Users
	// PerClient bounds the connections of one client, as [Peer.Client] names it.
	PerClient int
	// Refusal returns the response to whoever is turned away.
	Refusal func(error) Refusal
	// Drain is how long requests may go on when the context of [Gate.Serve] has ended.
	Drain time.Duration
	// Strangers bounds what those whom [LetIn] was not called for send, in bytes, besides
	// 4 KiB of each connection. 0 bounds it not.
	Strangers int64
	// Panicked is told of mistakes of the program in what a connection is about, which end that
	// one alone. nil: nobody is.
	Panicked func(*contain.PanicError)
}

// Refusal is the response to whoever is turned away, in JSON.
type Refusal struct {
	Status int
	Header http.Header // besides Content-Type and Cache-Control
	Body   []byte
}

// bytes returns the refusal as a response of HTTP/1.1, after which the connection ends.
func (r Refusal) bytes() []byte {
	header := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}
	maps.Copy(header, r.Header)
	response := http.Response{
		StatusCode: r.Status, ProtoMajor: 1, ProtoMinor: 1, Header: header, Close: true,
		Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)),
	}
	var whole bytes.Buffer
	_ = response.Write(&whole) // into memory
	return whole.Bytes()
}

// IsStranger reports whether [LetIn] is still to be called for the connection that a request
// came on, ctx being the request's context.
func IsStranger(ctx context.Context) bool {
	if p := peerOf(ctx); p != nil {
		if c, ok := p.conn.(*gatedConn); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return !c.known
		}
	}
	return false
}

// LetIn notes that the client that sent a request may go on, ctx being the request's
// context: what is held of its connection is no stranger's any more.
func LetIn(ctx context.Context) {
	if p := peerOf(ctx); p != nil {
		if c, ok := p.conn.(*gatedConn); ok {
			c.letIn()
		}
	}
}

// Serve serves s on l, with at most most connections at a time, until ctx ends.
func (g Gate) Serve(ctx context.Context, l net.Listener, s *http.Server, most int) error {
	s.Handler = g.contained(s.Handler)
	s.ConnContext = Users(nil).ConnContext
	s.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Drain)
		defer cancel()
		if s.Shutdown(bound) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(g.listener(netutil.LimitListener(l, most)))
	if !stop() {
		<-drained
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// contained returns h, of whose panics [Gate.Panicked] is told in place of net/http. The client
// sees the same of it: the connection, or the stream, ends.
func (g Gate) contained(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := contain.Call(g.Panicked, func() (any, error) { h.ServeHTTP(w, r); return nil, nil }); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
}

// listener returns l, whose connections fail at the first Read if they are turned away.
// It is not done when they are accepted, because that would hold up all others.
func (g Gate) listener(l net.Listener) net.Listener {
	return &gatedListener{Listener: l, gate: g, turnedAway: netconn.Refuser{Most: maxTurnedAway, Timeout: turnAwayTimeout}}
}

type gatedListener struct {
	net.Listener
	gate       Gate
	clients    track.Limiter // by name
	turnedAway netconn.Refuser
	strangers  atomic.Int64 // bytes
}

// Accept implements [net.Listener].
func (l *gatedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gatedConn{Conn: c, listener: l}, nil
}

// ErrTooMany is wrapped by the error about a client with more than PerClient connections.
var ErrTooMany = errors.New("too many connections")

type gatedConn struct {
	net.Conn
	listener *gatedListener
	once     sync.Once
	err      error

	mu       sync.Mutex
	closed   bool
	giveBack func() // nil: it has no place
	known    bool
	read     int64 // while it is not known
}

// Read implements [net.Conn].
func (c *gatedConn) Read(p []byte) (_ int, err error) {
	defer contain.Recover(c.listener.gate.Panicked, &err) // net/http reads ahead on a goroutine that it would end the program on
	c.once.Do(func() {
		c.err = io.ErrUnexpectedEOF // in case of a panic
		c.err = c.enter()
	})
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.count(p[:n]) {
		return n, err
	}
	c.err = io.EOF
	_ = c.Conn.SetWriteDeadline(time.Now().Add(turnAwayTimeout))
	_, _ = c.Conn.Write(c.listener.gate.Refusal(errStrangers).bytes())
	return 0, c.err
}

// errStrangers is about the memory that strangers take.
var errStrangers = fmt.Errorf("%w whose clients have not shown who they are take all the memory that there is for them; send less than 4 KiB, or try again later", ErrTooMany)

// count counts what has come, and reports whether there is room for it.
func (c *gatedConn) count(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known || c.closed || c.listener.gate.Strangers == 0 {
		return true
	}
	before := c.taken()
	c.read += netconn.HeadCost(p)
	more := c.taken() - before
	if more == 0 || c.listener.strangers.Add(more) <= c.listener.gate.Strangers {
		return true
	}
	c.listener.strangers.Add(-c.taken())
	c.known = true // so that nothing is given back again
	return false
}

// taken returns what is taken of the bytes for strangers.
func (c *gatedConn) taken() int64 { return max(c.read-netconn.FreeHead, 0) }

func (c *gatedConn) letIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.known = true
		c.listener.strangers.Add(-c.taken())
	}
}

// Close implements [net.Conn].
func (c *gatedConn) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if !c.known {
		c.known = true
		c.listener.strangers.Add(-c.taken())
	}
	if c.giveBack != nil {
		c.giveBack()
	}
	return err
}

// enter returns why every Read fails, nil for a client that may enter.
func (c *gatedConn) enter() error {
	gate := c.listener.gate
	peer := NewPeer(c.Conn)
	if users := gate.Users(); users != nil {
		if err := peer.check(users); err != nil {
			return c.turnAway(err)
		}
	}
	if client := peer.Client(); client != "" && !c.join(client) {
		return c.turnAway(fmt.Errorf("%w: %s has %d, and may have no more; close some", ErrTooMany, client, gate.PerClient))
	}
	return nil
}

// join takes a place among those of a client. It reports whether one was free.
func (c *gatedConn) join(client string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return true
	}
	c.giveBack = c.listener.clients.Take(client, c.listener.gate.PerClient)
	return c.giveBack != nil
}

// turnAway tells the client why, and returns an error about which net/http says nothing.
func (c *gatedConn) turnAway(why error) error {
	c.listener.turnedAway.Refuse(c.Conn, c.listener.gate.Refusal(why).bytes())
	return io.EOF
}
