package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"

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
	Labels LabelPatterns
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

// LabelPattern is a session label in which "*" stands for any text, or none.
type LabelPattern struct{ parts []string }

// ParseLabelPattern reads a pattern such as "build-*".
func ParseLabelPattern(s string) (LabelPattern, error) {
	if s == "" {
		return LabelPattern{}, errors.New(`the empty label cannot be named; "*" matches it with all others`)
	}
	if wrong := checkLabel(s); wrong != "" {
		return LabelPattern{}, fmt.Errorf("label pattern %q %s", s, wrong)
	}
	return LabelPattern{strings.Split(s, "*")}, nil
}

// String returns the pattern as it is written.
func (p LabelPattern) String() string { return strings.Join(p.parts, "*") }

// Match reports whether the pattern covers label.
func (p LabelPattern) Match(label string) bool {
	first, rest := p.parts[0], p.parts[1:]
	if len(rest) == 0 {
		return label == first
	}
	label, ok := strings.CutPrefix(label, first)
	if !ok {
		return false
	}
	last, between := rest[len(rest)-1], rest[:len(rest)-1]
	for _, part := range between {
		if _, label, ok = strings.Cut(label, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(label, last)
}

// LabelPatterns is a list of patterns.
type LabelPatterns []LabelPattern

// Match reports whether any pattern covers label.
func (ps LabelPatterns) Match(label string) bool {
	for _, p := range ps {
		if p.Match(label) {
			return true
		}
	}
	return false
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
