// Package h1client is a transport for plain requests over HTTP/1.1. It sends a request
// on the goroutine that asks for it, which is why it exists: [http.Transport] hands every
// request to two goroutines of the connection and back, which costs more than a short
// request does. The parsing is that of net/http.
//
// What is out of the ordinary is sent by another transport, see [Transport].
package h1client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// Config says how a [Transport] reaches servers. All fields are required.
type Config struct {
	// Dial connects to the server at a host:port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// DialTimeout bounds the time until a connection can be used, its TLS handshake
	// included.
	DialTimeout time.Duration
	// TLS is for the handshake with servers, whose names it leaves out.
	TLS *tls.Config
	// Roots returns the certificates that verify servers. nil: those of TLS do.
	Roots func() *x509.CertPool
	// Proxy returns the proxy for a URL. Requests that go through one are sent by
	// Fallback.
	Proxy func(*url.URL) (*url.URL, error)
	// Fallback sends the requests that are out of the ordinary.
	Fallback http.RoundTripper
}

// Transport is an [http.RoundTripper]. It sends requests for https URLs. Upgrades, requests with Expect, those that go
// through another proxy, those to servers that do not speak HTTP/1.1, and those for
// which a host has no free connection left are sent by its fallback.
type Transport struct {
	config Config
	pool   *connPool
}

// New returns a transport for config.
func New(config Config) *Transport {
	config.TLS = config.TLS.Clone()
	config.TLS.NextProtos = []string{"http/1.1"}
	return &Transport{config: config, pool: newPool()}
}

// takes reports whether t can send r.
func (t *Transport) takes(r *http.Request) bool {
	if !netconn.CanProbe || r.URL.Scheme != "https" || r.Header["Upgrade"] != nil || r.Header["Expect"] != nil {
		return false
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default: // Request.Write would read ahead, to see whether there is a body
		if r.Body != nil && r.ContentLength < 0 {
			return false
		}
	}
	if t.pool.refusesH1(r.URL.Host) {
		return false
	}
	via, err := t.config.Proxy(r.URL)
	return via == nil && err == nil
}

// errElsewhere is the error of a request that the fallback must send, because the
// server does not speak HTTP/1.1, or there are connections enough.
var errElsewhere = errors.New("the request does not go over HTTP/1.1")

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.RoundTripElse(r, t.config.Fallback)
}

// RoundTripElse is [Transport.RoundTrip] with another fallback.
func (t *Transport) RoundTripElse(r *http.Request, fallback http.RoundTripper) (*http.Response, error) {
	if t.takes(r) {
		if response, err := t.roundTrip(r); err != errElsewhere {
			return response, err
		}
	}
	return fallback.RoundTrip(r)
}

// roundTrip sends r. After errElsewhere nothing was read of its body, which is not
// closed.
func (t *Transport) roundTrip(r *http.Request) (*http.Response, error) {
	if err := checkOutgoing(r); err != nil {
		closeBody(r)
		return nil, err
	}
	for {
		c, err := t.conn(r.Context(), r.URL)
		if err == errElsewhere {
			return nil, err
		}
		if err != nil {
			closeBody(r)
			return nil, err
		}
		response, err := c.roundTrip(r)
		if err == nil || !c.reused || c.answered || !replayable(r) || r.Context().Err() != nil {
			return response, err
		}
		// The server has closed the connection after it was found to be alive. It
		// may do so at any time (RFC 9112, sections 9.3.1 and 9.5). The tries end with
		// the connections that were kept.
	}
}

// conn returns a connection that was kept, or a new one.
func (t *Transport) conn(ctx context.Context, u *url.URL) (*serverConn, error) {
	if c := t.pool.take(u.Host); c != nil {
		return c, nil
	}
	if !t.pool.reserve(u.Host) {
		return nil, errElsewhere
	}
	c, err := t.connect(ctx, u)
	if err != nil {
		t.pool.release(u.Host)
	}
	if ctx.Err() != nil {
		if c != nil {
			c.close()
		}
		return nil, context.Cause(ctx)
	}
	if alert, remote, ok := netconn.AlertOf(err); ok && remote && alert == netconn.AlertNoApplicationProtocol {
		t.pool.noteH2Only(u.Host)
		return nil, errElsewhere
	}
	return c, err
}

func (t *Transport) connect(ctx context.Context, u *url.URL) (*serverConn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.DialTimeout)
	defer cancel()
	raw, err := t.config.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")))
	if err != nil {
		return nil, err
	}
	socket, err := netconn.NewSocket(raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	conn, err := netconn.Handshake(ctx, socket, t.config.TLS, t.config.Roots, u.Hostname())
	if err != nil {
		return nil, err
	}
	return newConn(t.pool, u.Host, conn, socket), nil
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.pool.closeIdle() }

// checkOutgoing returns an error if r would not be one request on the wire, as
// [http.Transport] does. Request.Write checks the rest.
func checkOutgoing(r *http.Request) error {
	if !httpguts.ValidHeaderFieldName(r.Method) {
		return message.Errorf("method %q is not a word", r.Method)
	}
	for _, h := range [...]http.Header{r.Header, r.Trailer} {
		for name, values := range h {
			if !httpguts.ValidHeaderFieldName(name) {
				return message.Errorf("header name %q is not a word", name)
			}
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) {
					return message.Errorf("the value of header %q has a control character in it", name)
				}
			}
		}
	}
	return nil
}

// replayable reports whether r can be sent twice without harm. What was read of a body
// is lost.
func replayable(r *http.Request) bool {
	if r.Body != nil && r.Body != http.NoBody {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
