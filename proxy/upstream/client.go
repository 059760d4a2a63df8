// Package upstream reaches servers for the proxy, for tunnels and for requests.
//
//	client     both, behind one value that policies share           client.go
//	transport  requests: which transport sends one                  transport.go
//	dialer     connections: connect_to, or a proxy, or the server   dialer.go, routes.go
//	viaproxy   upstream proxies: HTTP CONNECT and SOCKS5            viaproxy.go
//	private    addresses that no client may reach                   private.go, ownlisteners.go
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
