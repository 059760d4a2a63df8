package proxy

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// newTransport returns a transport for the requests of all clients. It has no
// limit on how long an answer may take: a model may think for many minutes
// before its first byte.
func newTransport(d *dialer) *http.Transport {
	return &http.Transport{
		Proxy:       func(r *http.Request) (*url.URL, error) { return d.proxyFor(r.URL) },
		DialContext: d.dialTransport,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			RootCAs:            d.config.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
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

// transports is the transport of requests, with another one for upgrades.
// HTTP/1.1 alone has those, which http.Transport knows of WebSockets only.
type transports struct {
	*http.Transport
	upgrades *http.Transport
	h1       *h1Transport
}

func newTransports(d *dialer) *transports {
	upgrades := newTransport(d)
	upgrades.ForceAttemptHTTP2 = false
	upgrades.Protocols = new(http.Protocols)
	upgrades.Protocols.SetHTTP1(true)
	t := newTransport(d)
	return &transports{t, upgrades, newH1Transport(d, t.TLSClientConfig)}
}

// RoundTrip implements [http.RoundTripper].
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "http" && r.URL.Opaque != "" {
		// A proxy is asked for the whole URL, which http.Transport makes of all
		// but opaque ones.
		if via, err := t.Proxy(r); via != nil && err == nil {
			r.URL.Opaque = "//" + r.Host + r.URL.Opaque
		}
	}
	if r.Header.Get("Upgrade") != "" {
		return t.upgrades.RoundTrip(r)
	}
	if r.ProtoMajor == 1 && t.h1.takes(r) {
		if response, err := t.h1.RoundTrip(r); err != errElsewhere {
			return response, err
		}
	}
	return t.Transport.RoundTrip(r)
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transports) CloseIdleConnections() {
	t.Transport.CloseIdleConnections()
	t.upgrades.CloseIdleConnections()
	t.h1.CloseIdleConnections()
}

// NewTransport returns a transport for the program's own requests, which reach
// servers as c says, like those of clients.
func NewTransport(c UpstreamConfig) *http.Transport {
	return newTransport(newDialer(c, new(ownListeners)))
}
