package proxy

import (
	"cmp"
	"net/http"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// Profile is what clients with certain session labels get, in place of what
// [Config] has for all.
type Profile struct {
	// Name is for logs and errors.
	Name string
	// Labels are the session labels that it is for.
	Labels access.LabelPatterns
	// Refuse serves such clients nothing; what follows is not used then.
	Refuse bool
	// Signer authorises their requests.
	Signer signer.Signer
	// Scope says which of their requests are signed. nil: that of [Config].
	Scope *signer.Scope
	// Hosts are those of [Config].Intercept that they may reach. nil: all.
	Hosts hosts.Patterns
	// OtherHosts says what becomes of hosts that are not intercepted.
	OtherHosts OtherHosts
	// ConnectionsPerLabel bounds the connections of each label.
	ConnectionsPerLabel int
}

// profile is a [Profile] made ready for use.
type profile struct {
	Profile
	scope    *signer.Scope
	ownScope bool           // it is not that of all
	renewer  signer.Renewer // nil: what was refused is not sent again
}

func newProfile(p Profile, common *signer.Scope) *profile {
	n := &profile{Profile: p, scope: cmp.Or(p.Scope, common), ownScope: p.Scope != nil}
	n.renewer, _ = p.Signer.(signer.Renewer)
	return n
}

// profileOf returns the first profile for a label, or what is configured for all.
func (pol *policy) profileOf(label string) *profile {
	for _, p := range pol.profiles {
		if p.Labels.Match(label) {
			return p
		}
	}
	return pol.common
}

// choose has the exchange go by the profile of its label.
func (x *exchange) choose() *refuse.Refusal {
	x.profile = x.policy.profileOf(x.label)
	if !x.profile.Refuse {
		return nil
	}
	return refuse.New(http.StatusForbidden, "label_refused", "http_request_denied",
		"clients of the label %q are not served, as profile %s says; use the label of another", x.label, x.profile.Name)
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
