package proxy

import (
	"cmp"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// policy is a [Config] made ready for use. Nothing of it changes: an exchange
// takes the one in force when it begins and keeps it to its end, whatever is
// configured meanwhile.
type policy struct {
	Config
	refs     *track.Refs
	clients  *access.Clients
	upstream *upstream.Client
	profiles []*profile
	common   *profile // of clients that no other is for
}

// newPolicy makes config ready. If it reaches servers as former does, the
// connections to them are shared; former may be nil, else it must be held.
func newPolicy(config Config, own *upstream.OwnListeners, former *policy) *policy {
	config.Limits = config.Limits.orDefaults()
	config.RetryBodyLimit = cmp.Or(config.RetryBodyLimit, DefaultRetryBodyLimit)
	pol := &policy{Config: config, refs: track.NewRefs(), clients: access.New(config.Clients, config.Log)}
	for _, p := range config.Profiles {
		pol.profiles = append(pol.profiles, newProfile(p, config.Scope))
	}
	pol.common = newProfile(Profile{
		Signer: config.Signer, OtherHosts: config.OtherHosts, ConnectionsPerLabel: config.Limits.ConnectionsPerLabel,
	}, config.Scope)
	if former != nil && former.Upstream.Equal(config.Upstream) {
		pol.upstream = former.upstream
		pol.upstream.Hold()
	} else {
		pol.upstream = upstream.New(config.Upstream, own)
	}
	return pol
}

// release lets go of the policy. With the last, its connections to servers are
// closed, unless another policy shares them.
func (pol *policy) release() {
	if pol.refs.Release() {
		pol.upstream.Release()
	}
}

// current returns the policy in force, for those who look something up in it.
func (p *Proxy) current() *policy { return p.policy.Load() }

// hold returns the policy in force, which must be released.
func (p *Proxy) hold() *policy {
	for {
		// One that is gone was replaced a moment ago.
		if pol := p.policy.Load(); pol.refs.Hold() {
			return pol
		}
	}
}

// Reconfigure has exchanges that begin from now on go by config. Those that run
// keep what they began with. The channel is closed when the last of them has
// ended: then nothing of the former configuration is in use any more.
//
// A tunnel to an intercepted host lives on, but the requests inside are
// exchanges of their own: each goes by the configuration in force when it
// comes, and is refused if the client would not be admitted by it.
//
// Limits that net/http enforces (HeaderBytes, HandshakeTimeout, and IdleTimeout
// between requests) stay as [New] was told.
func (p *Proxy) Reconfigure(config Config) (released <-chan struct{}) {
	p.reconfiguring.Lock()
	defer p.reconfiguring.Unlock()
	former := p.policy.Load()
	p.policy.Store(newPolicy(config, &p.own, former))
	// What is idle would be so for ever.
	if p.policy.Load().upstream != former.upstream {
		former.upstream.CloseIdleConnections()
	}
	former.release()
	return former.refs.Gone()
}
