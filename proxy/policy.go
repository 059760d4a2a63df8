package proxy

import (
	"cmp"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// policy is a [Config] made ready for use. It never changes: an exchange keeps to
// its end the one that was in force when it began.
type policy struct {
	Config
	refs      *track.Refs
	clients   *access.Clients
	upstream  *upstream.Client // of tunnels, and of the common profile
	upstreams upstream.Clients // by profile
	profiles  []*profile
	common    *profile // of the labels that no other is for
	rates     *ratelimit.Limiter
}

// panicked logs a mistake of the program on a goroutine of its own.
func (pol *policy) panicked(e *contain.PanicError) {
	pol.Log.Error().Msgf("panic: %s\n%s", e, e.Stack())
}

// newPolicy returns the policy of config. It shares the connections to servers with
// former if that reaches servers in the same way. former may be nil, else it must be
// held.
func newPolicy(config Config, own *upstream.OwnListeners, former *policy) *policy {
	config.Limits = config.Limits.OrDefaults()
	config.RetryBodyLimit = cmp.Or(config.RetryBodyLimit, DefaultRetryBodyLimit)
	pol := &policy{Config: config, refs: track.NewRefs(), clients: access.New(config.Clients, config.Log), rates: ratelimit.New(time.Now)}
	if former != nil {
		pol.rates = former.rates
	}
	for _, p := range config.Profiles {
		pol.profiles = append(pol.profiles, newProfile(p, config.Scope))
	}
	pol.common = newProfile(Profile{
		Signer: config.Signer, OtherHosts: config.OtherHosts, ConnectionsPerLabel: config.Limits.ConnectionsPerLabel, Rates: config.Rates,
	}, config.Scope)
	names := []string{""}
	for i, p := range pol.profiles {
		names = append(names, cmp.Or(p.Name, strconv.Itoa(i)))
	}
	var shared upstream.Clients
	if former != nil && former.Upstream.Equal(config.Upstream) {
		shared = former.upstreams
	}
	pol.upstreams = upstream.NewClients(config.Upstream, own, names, shared)
	pol.upstream = pol.upstreams[""]
	for i, p := range append([]*profile{pol.common}, pol.profiles...) {
		p.upstream = pol.upstreams[names[i]]
	}
	return pol
}

// release drops a reference to the policy. With the last, its connections to servers
// are closed, unless another policy shares them.
func (pol *policy) release() {
	if pol.refs.Release() {
		pol.upstreams.Release()
	}
}

// profileOf returns the first profile for a label, or the common one. It refuses
// labels whose profile does.
func (pol *policy) profileOf(label string) (*profile, *refuse.Refusal) {
	for _, p := range pol.profiles {
		if !p.Labels.Match(label) {
			continue
		}
		if !p.Refuse {
			return p, nil
		}
		return p, refuse.New(http.StatusForbidden, "label_refused", "http_request_denied",
			"clients of the label %q are not served, as profile %s says; use another label", label, p.Name)
	}
	return pol.common, nil
}

// policies holds the policy in force.
type policies struct {
	current   atomic.Pointer[policy]
	replacing sync.Mutex
	own       upstream.OwnListeners
}

// hold returns the policy in force, which must be released.
func (ps *policies) hold() *policy {
	for {
		// One without references was replaced a moment ago.
		if pol := ps.current.Load(); pol.refs.Hold() {
			return pol
		}
	}
}

// replace puts the policy of config in force. The channel is closed when the former
// one is no longer in use.
func (ps *policies) replace(config Config) (released <-chan struct{}) {
	ps.replacing.Lock()
	defer ps.replacing.Unlock()
	former := ps.current.Load()
	pol := newPolicy(config, &ps.own, former)
	ps.current.Store(pol)
	// Nobody would use its idle connections any more.
	former.upstreams.CloseIdleConnections(pol.upstreams)
	former.release()
	return former.refs.Gone()
}

// Profile replaces what [Config] has for all clients for those with certain session
// labels.
type Profile struct {
	// Name is for logs and errors.
	Name string
	// Labels are the session labels that it is for.
	Labels access.LabelPatterns
	// Refuse serves such clients nothing. The fields below are not used then.
	Refuse bool
	// Signer authorises their requests.
	Signer signer.Signer
	// Scope says which of their requests are signed. nil: that of [Config].
	Scope *signer.Scope
	// Hosts are those of [Config].Intercept that they may reach. nil: all.
	Hosts hosts.Patterns
	// OtherHosts says which hosts that are not intercepted they may reach.
	OtherHosts OtherHosts
	// ConnectionsPerLabel bounds the connections of each label.
	ConnectionsPerLabel int
	// Rates bound the requests in a minute, and the streams at a time.
	Rates ratelimit.Rules
}

// profile is a [Profile] made ready for use.
type profile struct {
	Profile
	scope    *signer.Scope
	ownScope bool             // it is not that of all
	renewer  signer.Renewer   // nil: what was refused is not sent again
	upstream *upstream.Client // of its own
}

func newProfile(p Profile, common *signer.Scope) *profile {
	n := &profile{Profile: p, scope: cmp.Or(p.Scope, common), ownScope: p.Scope != nil}
	n.renewer, _ = p.Signer.(signer.Renewer)
	return n
}

// checkHost refuses a target that is signed for, but not for clients of this
// profile.
func (p *profile) checkHost(t hosts.Target) *refuse.Refusal {
	if p.Hosts == nil || p.Hosts.Match(t.Host, t.Port) {
		return nil
	}
	return refuse.New(http.StatusForbidden, "host_refused", "http_request_denied",
		"%s is not a host for clients of this label; to allow it, list it in the hosts of profile %s", t.Authority(), p.Name)
}

// boundsOf returns what exchanges may hold.
func boundsOf(l access.Limits) live.Bounds { return live.BoundsOf(l.Memory, l.RequestsPerLabel) }
