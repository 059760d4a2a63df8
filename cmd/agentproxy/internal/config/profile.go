package config

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// profileKeys are an agent of its own, for clients with certain session labels. Keys that
// are left out are as in the rest of the configuration.
type profileKeys struct {
	Name       string              `yaml:"name" doc:"The name of the profile, in lower case." kind:"text" required:"true"`
	Labels     []string            `yaml:"labels" doc:"The session labels that the profile is for. * stands for any text." required:"true"`
	Refuse     bool                `yaml:"refuse" doc:"Whether such clients are served nothing."`
	Identity   profileIdentityKeys `yaml:"identity"`
	Signer     *Signer             `yaml:"signer"`
	Scope      *Scope              `yaml:"scope"`
	Hosts      []string            `yaml:"hosts" doc:"The hosts, of chatgpt.hosts, that are intercepted for the profile."`
	OtherHosts *otherHosts         `yaml:"other_hosts"`
	Limits     profileLimitsKeys   `yaml:"limits"`
}

type profileIdentityKeys struct {
	CodexHome   string `yaml:"codex_home"`
	Login       string `yaml:"login" enum:"auto,own,codex"`
	Store       string `yaml:"store" enum:"state,keyring"`
	File        string `yaml:"file"`
	WorkspaceID string `yaml:"workspace_id" kind:"text"`
	Register    *bool  `yaml:"register"`
	Protocol    string `yaml:"protocol" enum:"auto,accounts,backend"`
}

type profileLimitsKeys struct {
	ConnectionsPerLabel    *int `yaml:"connections_per_label" min:"1"`
	RequestsPerMinute      *int `yaml:"requests_per_minute" min:"0"`
	Streams                *int `yaml:"streams" min:"0"`
	TotalRequestsPerMinute *int `yaml:"total_requests_per_minute" min:"0"`
	TotalStreams           *int `yaml:"total_streams" min:"0"`
}

// Profile is what clients with certain session labels act as.
type Profile struct {
	Name     string
	Labels   access.LabelPatterns
	Refuse   bool           // such clients are served nothing
	Hosts    hosts.Patterns // nil for all that are intercepted
	Agent    Agent          // unless Refuse
	catchAll bool           // Labels has "*"
}

// maxProfileName is the most that the name of a profile may be long. To count in profileName
// would cost the start of each command a tenth of a millisecond.
const maxProfileName = 63

var profileName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// profiles checks the profiles of the file. known are the mistakes in what they inherit.
func (m agentMaker) profiles(known []error) ([]Profile, error) {
	f := m.file
	var wrongs mistakes
	switch {
	case f.Clients.TrustLabels && len(f.Profiles) == 0:
		wrongs.wrong("clients.trust_labels", "it is only used with profiles; leave it out")
	case f.Clients.TrustLabels && f.Clients.TokensFile != "":
		wrongs.wrong("clients.trust_labels", "clients.tokens_file says who may use which label; leave it out")
	case f.Clients.TrustLabels && f.Clients.Issued == IssuedOnly:
		wrongs.wrong("clients.trust_labels", "clients.issued is only, and each such token is for one label; leave it out")
	case len(f.Profiles) > 0 && f.Clients.TokensFile == "" && f.Clients.Issued != IssuedOnly && !f.Clients.TrustLabels:
		wrongs.wrong("profiles", "without clients.tokens_file a client can give itself any label, and act as any of these agents; set it, or clients.issued: only, or clients.trust_labels: true if all clients may")
	}
	var all []Profile
	for i, keys := range f.Profiles {
		key := element("profiles", i)
		if len(keys.Name) > maxProfileName || !profileName.MatchString(keys.Name) {
			wrongs.wrong(key+".name", "%q is not a name of lower-case letters, digits and - between them, %d at most", keys.Name, maxProfileName)
		}
		if slices.ContainsFunc(all, func(p Profile) bool { return p.Name == keys.Name }) {
			wrongs.wrong(key+".name", "there is another profile %s; choose another name", keys.Name)
		}
		if n := len(all); n > 0 && all[n-1].catchAll {
			wrongs.wrong(key, "no client has this profile: profile %s before it is for all labels; put it last", all[n-1].Name)
		}
		p, err := m.profile(keys)
		for _, err := range each(err) {
			inherited := func(e error) bool { return e.Error() == err.Error() }
			if !slices.ContainsFunc(known, inherited) {
				wrongs.add(below(key, err))
			}
		}
		p.Agent.key = key
		all = append(all, p)
	}
	return all, wrongs.err()
}

func (m agentMaker) profile(keys profileKeys) (Profile, error) {
	p := Profile{Name: keys.Name, Refuse: keys.Refuse, catchAll: slices.Contains(keys.Labels, "*")}
	var all mistakes
	if len(keys.Labels) == 0 {
		all.wrong("labels", `no client would have this profile; list its labels, as in ["build-*"]`)
	}
	for i, s := range keys.Labels {
		pattern, err := access.ParseLabelPattern(s)
		all.add(at(element("labels", i), err))
		p.Labels = append(p.Labels, pattern)
	}
	if keys.Refuse {
		if keys.Identity != (profileIdentityKeys{}) || keys.Signer != nil || keys.Scope != nil || keys.Hosts != nil || keys.OtherHosts != nil || keys.Limits != (profileLimitsKeys{}) {
			all.wrong("refuse", "such clients are served nothing; leave out all but name and labels")
		}
		return p, all.err()
	}
	var err error
	p.Agent, err = m.agent(keys.Name, m.file.agentKeys().with(keys))
	all.add(err)
	if keys.Hosts != nil {
		p.Hosts = p.Agent.Intercept
	}
	return p, all.err()
}

// with returns the keys with those of a profile in their place.
func (k agentKeys) with(p profileKeys) agentKeys {
	id := p.Identity
	k.profileLogin = cmp.Or(id.Login, LoginAuto)
	k.profileHome = id.CodexHome != ""
	k.accessToken = !k.profileHome && id.File == "" && k.profileLogin == LoginAuto
	k.identity = identityKeys{
		CodexHome:   cmp.Or(id.CodexHome, k.identity.CodexHome),
		Login:       k.identity.Login,
		Store:       cmp.Or(id.Store, k.identity.Store),
		File:        cmp.Or(id.File, k.identity.File),
		WorkspaceID: cmp.Or(id.WorkspaceID, k.identity.WorkspaceID),
		Register:    k.identity.Register,
		Protocol:    cmp.Or(id.Protocol, k.identity.Protocol),
	}
	if id.Register != nil {
		k.identity.Register = *id.Register
	}
	if p.Signer != nil {
		former := k.signer.Default.OnFailure
		k.signer = *p.Signer
		if rule := &k.signer.Default; rule.Use == UseAuto {
			rule.OnFailure = cmp.Or(rule.OnFailure, former)
		}
	}
	if p.Scope != nil {
		if p.Scope.Allow != nil {
			k.scope.Allow = p.Scope.Allow
		}
		k.scope.OnMiss = cmp.Or(p.Scope.OnMiss, k.scope.OnMiss)
	}
	if p.OtherHosts != nil {
		k.otherHosts = *p.OtherHosts
	}
	replace(&k.connectionsPerLabel, p.Limits.ConnectionsPerLabel)
	k.rates = k.rates.with(p.Limits)
	k.hosts = p.Hosts
	return k
}

// CoversAll reports whether every client has a profile.
func (c *Config) CoversAll() bool {
	return slices.ContainsFunc(c.Profiles, func(p Profile) bool { return p.catchAll })
}

// ProfileCount returns the number of profiles in the file, which those of
// [Config.For] have, too.
func (c *Config) ProfileCount() int { return len(c.file.Profiles) }

// For returns the configuration of one agent alone, as if all clients had it: that of the
// profile with a name, or of clients with a session label, or of those without a profile
// where both are "".
func (c *Config) For(profile, label string) (*Config, error) {
	if profile != "" {
		return c.forProfile(profile)
	}
	for _, p := range c.Profiles {
		switch {
		case label == "" || !p.Labels.Match(label):
		case p.Refuse:
			return nil, cli.Usagef("--label %s: profile %s refuses such clients", label, p.Name)
		default:
			return c.only(p.Agent), nil
		}
	}
	return c.only(c.Agent), nil
}

func (c *Config) forProfile(name string) (*Config, error) {
	var names []string
	for _, p := range c.Profiles {
		if p.Refuse {
			continue
		}
		if p.Name == name {
			return c.only(p.Agent), nil
		}
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		return nil, cli.Usagef("--profile %s: the configuration has no profiles", name)
	}
	return nil, cli.Usagef("--profile %s: it is none of %s", name, strings.Join(names, ", "))
}

// only returns the configuration with one agent and no profiles.
func (c *Config) only(a Agent) *Config {
	n := *c
	n.Agent, n.Profiles = a, nil
	n.Limits.ConnectionsPerLabel = a.ConnectionsPerLabel
	return &n
}
