package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
)

// sharePatience is how long a request waits for connections that others make, before it makes one
// of its own.
const sharePatience = time.Second

// sharing is a transport that makes one connection to a server at a time, while no request has
// lost patience, if it turns out that requests share it, as they do over HTTP/2. net/http makes one
// for each request that finds none: a hundred requests at once would be a hundred TLS handshakes,
// and all but one in vain.
type sharing struct {
	*http.Transport
}

func newSharing(d *dialer, window int) *sharing {
	t := newTransport(d, window, "h2", "http/1.1")
	t.DialTLSContext = contained(newSharedDials(d.patience).dial(d.dialTLS(t.TLSClientConfig, true)))
	return &sharing{t}
}

// RoundTrip implements [http.RoundTripper].
func (t *sharing) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		res, err := t.Transport.RoundTrip(r)
		if !errors.Is(err, errConnected) {
			return res, err
		}
		// Nothing of it was sent, but net/http has closed the body.
		if r.Body == nil || r.Body == http.NoBody {
			continue
		}
		if r.GetBody == nil {
			return nil, message.ErrNotHeld
		}
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r = r.WithContext(r.Context())
		r.Body = body
	}
}

// sharedDials are the connections that are being made.
type sharedDials struct {
	patience time.Duration // [sharePatience]
	unshared hostSet       // servers whose connections carry one request at a time

	mu       sync.Mutex
	underWay map[string]*sharedDial // by the server's address
}

// sharedDial is a connection in the making.
type sharedDial struct {
	over   chan struct{} // is closed at its end
	shared bool          // is valid then: the connection carries several requests
}

func newSharedDials(patience time.Duration) *sharedDials {
	return &sharedDials{patience: patience, underWay: make(map[string]*sharedDial)}
}

// errConnected is the error of a request for which no connection was made: another one has one by
// now that both may share, or the request has ended.
var errConnected = message.Errorf("another request has made the connection")

// dial returns dial for requests of which one at a time makes a connection. The context of those
// that may wait for it has a [Connecting].
func (s *sharedDials) dial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, _ := ctx.Value(connectingKey{}).(*Connecting)
		if c == nil || s.unshared.has(address) {
			return dial(ctx, network, address)
		}
		d, first := s.join(address)
		if first {
			return s.lead(c, d, address, func() (net.Conn, error) { return dial(ctx, network, address) })
		}
		begun := time.Now()
		defer func() { c.waited.Add(int64(time.Since(begun))) }()
		patience := time.NewTimer(s.patience - time.Duration(c.waited.Load()))
		defer patience.Stop()
		ended := make(chan struct{})
		c.whenOver(func() { close(ended) })
		select {
		case <-ended: // with the request
			return nil, errConnected
		case <-d.over:
			if d.shared {
				return nil, errConnected
			}
		case <-patience.C:
		}
		return dial(ctx, network, address)
	}
}

// join returns the connection that is being made to address. first says that the caller is to
// make it.
func (s *sharedDials) join(address string) (d *sharedDial, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.underWay[address]; d != nil {
		return d, false
	}
	d = &sharedDial{over: make(chan struct{})}
	s.underWay[address] = d
	return d, true
}

// lead makes the connection that others wait for, until net/http has given it to the request that
// c is of: from then on it gives it to others.
func (s *sharedDials) lead(c *Connecting, d *sharedDial, address string, dial func() (net.Conn, error)) (conn net.Conn, err error) {
	end := func() {
		s.mu.Lock()
		delete(s.underWay, address)
		s.mu.Unlock()
		close(d.over)
	}
	defer func() { // also if dial panics
		secured, ok := conn.(*tls.Conn)
		if d.shared = ok && secured.ConnectionState().NegotiatedProtocol == "h2"; d.shared {
			c.whenOver(end)
			return
		}
		if ok {
			s.unshared.add(address)
		}
		end()
	}()
	return dial()
}

// Connecting is a request's wait for a connection. The zero value may be used.
type Connecting struct {
	waited atomic.Int64 // for others' connections, in nanoseconds

	mu   sync.Mutex
	over bool
	then []func() // what is to be done when it is over
}

type connectingKey struct{}

// WithConnecting returns a context for a request of whose wait c tells, by [Connecting.Trace]. If it
// is for an https:// URL its body must be held ([message.Hold]), for it may be closed before it is sent.
func WithConnecting(ctx context.Context, c *Connecting) context.Context {
	return context.WithValue(ctx, connectingKey{}, c)
}

// Trace has t, the trace of the request, tell c.
func (c *Connecting) Trace(t *httptrace.ClientTrace) {
	got := t.GotConn
	t.GetConn = func(string) { c.set(false) }
	t.GotConn = func(info httptrace.GotConnInfo) {
		c.End()
		if got != nil {
			got(info)
		}
	}
}

// End notes that the request has a connection, or needs none any more.
func (c *Connecting) End() { c.set(true) }

// set begins another wait, or ends it. What went before is over in any case.
func (c *Connecting) set(over bool) {
	c.mu.Lock()
	c.over = over
	then := c.then
	c.then = nil
	c.mu.Unlock()
	for _, f := range then {
		f()
	}
}

// whenOver calls f when the wait is over, which it may be.
func (c *Connecting) whenOver(f func()) {
	c.mu.Lock()
	over := c.over
	if !over {
		c.then = append(c.then, f)
	}
	c.mu.Unlock()
	if over {
		f()
	}
}
