package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/h1client"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// newTLSConfig returns what TLS with servers goes by.
func newTLSConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// newTransport returns a transport for the requests of all clients. It has no
// limit on how long an answer may take: a model may think for many minutes
// before its first byte.
func newTransport(d *dialer, protos ...string) *http.Transport {
	config := newTLSConfig(d.config.RootCAs)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	config.NextProtos = protos
	return &http.Transport{
		// Upstream proxies are the dialer's: whatever is wrong there is known to be
		// wrong there, for requests and tunnels alike.
		DialContext:       d.dialPlain,
		DialTLSContext:    d.dialTLS(config),
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		// net/http would keep two idle connections a host and open a new one
		// for nearly every request.
		MaxIdleConns:          2048,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// The body goes to the client as the server encoded it.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 1 << 20,
		HTTP2: &http.HTTP2Config{
			// What is held of an answer whose client does not read.
			MaxReceiveBufferPerStream: 1 << 20,
			// A connection that a laptop's sleep or a NAT box has killed is
			// found out by a ping, not by requests that wait for ever.
			SendPingTimeout: 15 * time.Second,
			PingTimeout:     10 * time.Second,
		},
	}
}

// dialTLS returns a dialer of servers that have to prove by TLS who they are.
func (d *dialer) dialTLS(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := d.dialProven(ctx, network, address)
		if err != nil {
			return nil, err
		}
		secured, err := netconn.Handshake(ctx, conn, config, host)
		if err != nil {
			return nil, err
		}
		return secured, nil
	}
}

// transports is the transport of requests, with another one for upgrades.
// HTTP/1.1 alone has those, which http.Transport knows of WebSockets only. A third
// one asks upstream proxies for http:// URLs.
type transports struct {
	*http.Transport
	upgrades *http.Transport
	proxied  proxiedTransport
	h1       *h1client.Transport
	via      func(*url.URL) (*url.URL, error)
}

func newTransports(d *dialer) *transports {
	upgrades := newTransport(d) // offering no protocol: those who speak HTTP/2 may refuse "http/1.1" alone
	upgrades.ForceAttemptHTTP2 = false
	upgrades.Protocols = new(http.Protocols)
	upgrades.Protocols.SetHTTP1(true)
	t := newTransport(d, "h2", "http/1.1")
	h1 := h1client.New(h1client.Config{Dial: d.dialProven, DialTimeout: dialTimeout, TLS: t.TLSClientConfig, Proxy: d.proxyFor, Fallback: t})
	return &transports{t, upgrades, newProxiedTransport(d), h1, d.proxyFor}
}

// RoundTrip implements [http.RoundTripper].
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
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
	if r.ProtoMajor == 1 {
		return t.h1.RoundTrip(r)
	}
	return t.Transport.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transports) CloseIdleConnections() {
	t.Transport.CloseIdleConnections()
	t.upgrades.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
	t.h1.CloseIdleConnections()
}

// NewTransport returns a transport for the program's own requests, which reach
// servers as c says, like those of clients.
func NewTransport(c Config) *http.Transport {
	return newTransport(newDialer(c, new(OwnListeners)), "h2", "http/1.1")
}
