package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/h1client"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

const (
	// Window bounds what is held of a response over HTTP/2 whose client does not read, in
	// bytes. From a server that is 100 ms away no more than 2.5 MB/s come.
	Window = 256 << 10
	// NarrowWindow is the bound for users that have asked for many responses at a time. A server
	// sends as much of all of them at once.
	NarrowWindow = 32 << 10
)

// newTLSConfig returns the configuration of TLS with servers. The roots are those of the
// dialer.
func newTLSConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// newTransport returns a transport that speaks the protocols over TLS, with a window of so many
// bytes for each stream. It does not bound the time to a response: a model may think for many
// minutes before its first byte.
func newTransport(d *dialer, window int, protos ...string) *http.Transport {
	config := newTLSConfig()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	config.NextProtos = protos
	return &http.Transport{
		// The dialer connects to upstream proxies, so that their errors are the same for
		// requests and tunnels.
		DialContext:       contained(d.dialPlain),
		DialTLSContext:    contained(d.dialTLS(config, slices.Contains(protos, "h2"))),
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		// No connection of HTTP/1.1 is kept, which leaves those of HTTP/2 as they are: net/http
		// hands one to the next request before it looks whether the server has sent more
		// than its response, which would be the answer to that request.
		MaxIdleConnsPerHost:   -1,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// The body goes to the client as the server encoded it.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 1 << 20,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: window,
			// Pings find out a connection that a laptop's sleep or a NAT box has killed.
			// Otherwise requests on it would wait for ever.
			SendPingTimeout: max(cmp.Or(d.config.PingAfter, DefaultPingAfter), 0),
			PingTimeout:     10 * time.Second,
		},
	}
}

// dialFunc connects to a server.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// contained returns dial for a goroutine of net/http, on which a panic would end the program. It
// tells the request's trace first that it connects, for a name may have to be found before that.
func contained(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return contain.Call(nil, func() (net.Conn, error) {
			if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.ConnectStart != nil {
				trace.ConnectStart(network, address)
			}
			return dial(ctx, network, address)
		})
	}
}

// dialTLS returns a function that connects to servers and does the TLS handshake. shared says that
// a connection carries the responses of several clients, which are read in turns.
func (d *dialer) dialTLS(config *tls.Config, shared bool) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := d.dialProven(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		if shared && d.config.Turns != nil {
			conn = netconn.NewPacedConn(conn, d.config.Turns, keyOf(conn))
		}
		secured, err := netconn.Handshake(ctx, conn, config, d.config.RootCAs, host)
		if err != nil {
			return nil, err
		}
		return secured, nil
	}
}

// keyOf returns the key of a connection to a server.
func keyOf(conn net.Conn) track.Key {
	return track.Key{Kind: track.Server, Name: conn.LocalAddr().String()}
}

// transports sends requests, each by the transport that fits it: upgrades by one that
// speaks HTTP/1.1 alone, http:// URLs through an upstream proxy by another, the rest over
// HTTP/1.1 by h1, and what is left by the embedded one or, of some users, by one that is theirs.
// h1 alone keeps connections of HTTP/1.1.
type transports struct {
	*sharing
	upgrades *http.Transport
	proxied  proxiedTransport
	h1       *h1client.Transport
	lackH2   hostSet // servers that have answered HTTP/2's clients over HTTP/1.1
	apart    *apart
	via      func(*url.URL) (*url.URL, error)
}

func newTransports(d *dialer) *transports {
	upgrades := newTransport(d, Window) // without ALPN: servers of HTTP/2 may refuse an offer of "http/1.1" alone
	upgrades.ForceAttemptHTTP2 = false
	upgrades.Protocols = new(http.Protocols)
	upgrades.Protocols.SetHTTP1(true)
	t := newSharing(d, Window)
	h1 := h1client.New(h1client.Config{Dial: d.dialProven, DialTimeout: d.timeout, TLS: t.TLSClientConfig, Roots: d.config.RootCAs, Proxy: d.proxyFor, Fallback: t})
	apart := newApart(func() *byWindow { return newByWindow(d) })
	return &transports{sharing: t, upgrades: upgrades, proxied: newProxiedTransport(d), h1: h1, apart: apart, via: d.proxyFor}
}

// RoundTripFor sends a request for a user, of which [transports.NoteReset] is told if it is
// broken off. The window is for the response over HTTP/2: [NarrowWindow], or any other for [Window];
// many says that much may come for the user at a time. One for whom it does, or that breaks off
// many, has connections of its own for a while: on those of all, others would wait for what comes
// for it, or be reset with it.
func (t *transports) RoundTripFor(user string, window int64, many bool, r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" && r.Header["Upgrade"] == nil {
		if many {
			t.apart.noteMany(user)
		}
		if own := t.apart.transportOf(user); own != nil {
			return t.roundTrip(own.of(window), r)
		}
	}
	return t.roundTrip(t.sharing, r)
}

// NoteReset notes that a user's request was broken off before its response had ended.
func (t *transports) NoteReset(user string) { t.apart.noteReset(user) }

// RoundTrip implements [http.RoundTripper].
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.roundTrip(t.sharing, r)
}

// roundTrip sends a request, over HTTP/2 by h2.
func (t *transports) roundTrip(h2 *sharing, r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" {
		via, err := t.via(r.URL)
		if err != nil {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, err
		}
		if via != nil && !isSOCKS(via) {
			return t.proxied.roundTrip(r, via)
		}
	}
	if r.Header.Get("Upgrade") != "" {
		return t.upgrades.RoundTrip(r)
	}
	if r.ProtoMajor == 1 || t.lackH2.has(r.URL.Host) {
		return t.h1.RoundTripElse(r, h2)
	}
	res, err := h2.RoundTrip(r)
	if err == nil && res.ProtoMajor == 1 {
		t.lackH2.add(r.URL.Host)
	}
	return res, err
}

// byWindow are two transports, which share no connections: the embedded one has [Window].
type byWindow struct {
	*sharing
	narrow *sharing
}

func newByWindow(d *dialer) *byWindow {
	return &byWindow{newSharing(d, Window), newSharing(d, NarrowWindow)}
}

// of returns the one for a window.
func (b *byWindow) of(window int64) *sharing {
	if window == NarrowWindow {
		return b.narrow
	}
	return b.sharing
}

// CloseIdleConnections closes the connections that no request uses.
func (b *byWindow) CloseIdleConnections() {
	b.sharing.CloseIdleConnections()
	b.narrow.CloseIdleConnections()
}

// hostSet is a set of hosts, bounded by forgetting all. It is safe for concurrent use.
type hostSet struct {
	mu    sync.Mutex
	hosts map[string]bool
}

const mostHosts = 256

func (s *hostSet) has(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hosts[host]
}

func (s *hostSet) add(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hosts) >= mostHosts {
		clear(s.hosts)
	}
	if s.hosts == nil {
		s.hosts = make(map[string]bool)
	}
	s.hosts[host] = true
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transports) CloseIdleConnections() {
	t.sharing.CloseIdleConnections()
	t.upgrades.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
	t.h1.CloseIdleConnections()
	t.apart.closeIdle()
}

// NewTransport returns a transport for requests of the program itself, which reach
// servers as c says, like those of clients.
func NewTransport(c Config) *http.Transport {
	return newTransport(newDialer(c, new(OwnListeners)), Window, "h2", "http/1.1")
}
