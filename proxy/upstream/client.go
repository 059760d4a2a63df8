package upstream

import (
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// Client reaches servers: by tunnels, and by requests whose connections it keeps.
// It may be shared.
type Client struct {
	*dialer
	*transports
	refs *track.Refs
}

// New returns an upstream for config, which its caller must release.
func New(config Config, own *OwnListeners) *Client {
	d := newDialer(config, own)
	return &Client{d, newTransports(d), track.NewRefs()}
}

// Hold adds a user of u, who must release it. It may be called only while there is
// another.
func (u *Client) Hold() { u.refs.Hold() }

// Release drops a user of u. With the last, the idle connections are closed.
func (u *Client) Release() {
	if !u.refs.Release() {
		return
	}
	u.CloseIdleConnections()
	// A connection of HTTP/2 is idle a moment after its last response has ended.
	time.AfterFunc(time.Second, u.CloseIdleConnections)
}
