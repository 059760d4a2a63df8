package proxy

import (
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// upstream reaches servers: by tunnels, and by requests whose connections it keeps.
// It may be shared.
type upstream struct {
	*dialer
	*transports
	refs *track.Refs
}

// newUpstream returns an upstream for config, which its caller must release.
func newUpstream(config UpstreamConfig, own *ownListeners) *upstream {
	d := newDialer(config, own)
	return &upstream{d, newTransports(d), track.NewRefs()}
}

// hold adds a user of u, who must release it. It may be called only while there is
// another.
func (u *upstream) hold() { u.refs.Hold() }

// release drops a user of u. With the last, the idle connections are closed.
func (u *upstream) release() {
	if !u.refs.Release() {
		return
	}
	u.CloseIdleConnections()
	// A connection of HTTP/2 is idle a moment after its last response has ended.
	time.AfterFunc(time.Second, u.CloseIdleConnections)
}
