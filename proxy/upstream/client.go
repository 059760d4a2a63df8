// Package upstream reaches servers for the proxy, for tunnels and for requests.
//
//	client     both, behind one value that policies share           client.go
//	transport  requests: which transport sends one                  transport.go
//	sharing    connections of HTTP/2 while they are being made      sharing.go
//	dialer     connections: connect_to, or a proxy, or the server   dialer.go, routes.go
//	viaproxy   upstream proxies: HTTP CONNECT and SOCKS5            viaproxy.go
//	private    addresses that no client may reach                   private.go, ownlisteners.go
//	apart      users with connections of their own                  apart.go
//	deadpath   connections on which nothing is acknowledged         deadpath_*.go
//
// Every connection is made by the dialer, so that all are under the same rules. Its
// errors are told apart by type: [OwnListenerError], [PrivateAddressError],
// [ProxyError], those of crypto/tls and net, and [Declined].
package upstream

import (
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// Client reaches servers, by tunnels and by requests. It is an [http.RoundTripper] that
// keeps connections, and may be shared.
type Client struct {
	*dialer
	*transports
	refs *track.Refs
}

// New returns a client for config, which its caller must release. It never connects to
// the listeners of own.
func New(config Config, own *OwnListeners) *Client {
	d := newDialer(config, own)
	return &Client{d, newTransports(d), track.NewRefs()}
}

// Hold adds a user of c, who must release it. There must be another user meanwhile.
func (u *Client) Hold() { u.refs.Hold() }

// Release drops a user of c. With the last, the idle connections are closed.
func (u *Client) Release() {
	if !u.refs.Release() {
		return
	}
	u.CloseIdleConnections()
	// A connection of HTTP/2 is idle a moment after its last response has ended.
	time.AfterFunc(time.Second, u.CloseIdleConnections)
}

// Clients are clients by name. They share no connection, so that whatever a server does,
// no byte of one's requests and responses reaches another.
type Clients map[string]*Client

// NewClients returns a client for config under each name. Those that shared has already
// are taken from it; it must not be released meanwhile.
func NewClients(config Config, own *OwnListeners, names []string, shared Clients) Clients {
	clients := make(Clients, len(names))
	for _, name := range names {
		if clients[name] != nil {
			continue
		}
		c := shared[name]
		if c == nil {
			c = New(config, own)
		} else {
			c.Hold()
		}
		clients[name] = c
	}
	return clients
}

// Release drops a user of each.
func (cs Clients) Release() {
	for _, c := range cs {
		c.Release()
	}
}

// CloseIdleConnections closes the connections that no request uses, but for those that
// are in others too.
func (cs Clients) CloseIdleConnections(others Clients) {
	for name, c := range cs {
		if others[name] != c {
			c.CloseIdleConnections()
		}
	}
}
