package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// profileConfig is an agent of its own, for clients with certain session labels.
// What it leaves out is as in the rest of the configuration.
type profileConfig struct {
	Name       string          `yaml:"name"`
	Labels     []string        `yaml:"labels"`
	Refuse     bool            `yaml:"refuse"`
	Identity   profileIdentity `yaml:"identity"`
	Signer     *signerConfig   `yaml:"signer"`
	Scope      *scopeConfig    `yaml:"scope"`
	Hosts      []string        `yaml:"hosts"`
	OtherHosts *otherHosts     `yaml:"other_hosts"`
	Limits     profileLimits   `yaml:"limits"`
}

type profileIdentity struct {
	CodexHome   string `yaml:"codex_home"`
	Login       string `yaml:"login"`
	Store       string `yaml:"store"`
	File        string `yaml:"file"`
	WorkspaceID string `yaml:"workspace_id"`
	Register    *bool  `yaml:"register"`
	Protocol    string `yaml:"protocol"`
}

type profileLimits struct {
	ConnectionsPerLabel *int `yaml:"connections_per_label"`
}

// profile is a profileConfig that was checked.
type profile struct {
	name     string
	patterns []string
	labels   access.LabelPatterns
	refuse   bool
	hosts    hosts.Patterns // nil: all of chatgpt.hosts
	config   *config        // what the configuration would be if all clients had this profile
}

var profileName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (c *config) validateProfiles(env cli.Environment) (string, error) {
	switch {
	case c.Clients.TrustLabels && len(c.Profiles) == 0:
		return "clients.trust_labels", errors.New("it is only used with profiles; leave it out")
	case c.Clients.TrustLabels && c.entrance.tokens != nil:
		return "clients.trust_labels", errors.New("clients.tokens_file says who may use which label; leave it out")
	case len(c.Profiles) > 0 && c.entrance.tokens == nil && !c.Clients.TrustLabels:
		return "profiles", errors.New("without clients.tokens_file a client can give itself any label, and act as any of these agents; set it, or clients.trust_labels: true if all clients may")
	}
	taken := make(map[string]bool)
	for i, p := range c.Profiles {
		at := fmt.Sprintf("profiles[%d]", i)
		if !profileName.MatchString(p.Name) {
			return at + ".name", fmt.Errorf("%q is not a name of lower-case letters, digits and - between them, 63 at most", p.Name)
		}
		if taken[p.Name] {
			return at + ".name", fmt.Errorf("there is another profile %s; choose another name", p.Name)
		}
		taken[p.Name] = true
		if c.profileForAll() {
			return at, fmt.Errorf("no client has this profile: profile %s before it is for all labels; put it last", c.profiles[i-1].name)
		}
		checked, key, err := c.checkProfile(p, env)
		if err != nil {
			return strings.TrimSuffix(at+"."+key, "."), err
		}
		c.profiles = append(c.profiles, checked)
	}
	return "", nil
}

func (c *config) checkProfile(p profileConfig, env cli.Environment) (checked profile, key string, err error) {
	checked = profile{name: p.Name, patterns: p.Labels, refuse: p.Refuse}
	if len(p.Labels) == 0 {
		return checked, "labels", errors.New(`no client would have this profile; list its labels, as in ["build-*"]`)
	}
	for i, s := range p.Labels {
		pattern, err := access.ParseLabelPattern(s)
		if err != nil {
			return checked, fmt.Sprintf("labels[%d]", i), err
		}
		checked.labels = append(checked.labels, pattern)
	}
	if p.Refuse {
		if p.Identity != (profileIdentity{}) || p.Signer != nil || p.Scope != nil || p.Hosts != nil || p.OtherHosts != nil || p.Limits != (profileLimits{}) {
			return checked, "refuse", errors.New("such clients are served nothing; leave out all but name and labels")
		}
		return checked, "", nil
	}
	checked.config = c.with(p)
	for _, check := range []func(cli.Environment) (string, error){
		checked.config.validateIdentity, checked.config.validateSigner, checked.config.validateScope, checked.config.validateOtherHosts, checked.config.validateOtherPorts, checked.config.validateLimits,
	} {
		if key, err := check(env); err != nil {
			return checked, key, err
		}
	}
	if p.Hosts == nil {
		return checked, "", nil
	}
	if len(p.Hosts) == 0 {
		return checked, "hosts", errors.New("nothing would be signed; leave the key out for all of chatgpt.hosts")
	}
	if checked.hosts, key, err = parseHostPatterns("hosts", p.Hosts); err != nil {
		return checked, key, err
	}
	for i, pattern := range checked.hosts {
		if !c.intercept.Cover(pattern) {
			return checked, fmt.Sprintf("hosts[%d]", i), fmt.Errorf("%s is not among chatgpt.hosts, which are those that are signed for; add it there, or leave it out", pattern)
		}
	}
	checked.config.intercept = checked.hosts
	return checked, "", nil
}

// with returns the configuration as it would be if all clients had the profile.
func (c *config) with(p profileConfig) *config {
	n := c.alone()
	n.profile, n.commonLogin = p.Name, c.login
	id := p.Identity
	n.Identity = identityConfig{
		CodexHome:   cmp.Or(id.CodexHome, c.Identity.CodexHome),
		Login:       cmp.Or(id.Login, loginAuto),
		Store:       cmp.Or(id.Store, c.Identity.Store),
		File:        cmp.Or(id.File, c.Identity.File),
		WorkspaceID: cmp.Or(id.WorkspaceID, c.Identity.WorkspaceID),
		Register:    c.Identity.Register,
		Protocol:    cmp.Or(id.Protocol, c.Identity.Protocol),
	}
	n.homeNamed = id.CodexHome != ""
	n.login = n.findLogin(c.login)
	if id.CodexHome != "" || id.File != "" || n.login != c.login {
		n.accessToken = ""
	}
	if id.Register != nil {
		n.Identity.Register = *id.Register
	}
	if p.Signer != nil {
		n.Signer = *p.Signer
		if rule := &n.Signer.Default; rule.Use == useAuto {
			rule.OnFailure = cmp.Or(rule.OnFailure, c.Signer.Default.OnFailure)
		}
	}
	if p.Scope != nil {
		if p.Scope.Allow != nil {
			n.Scope.Allow = p.Scope.Allow
		}
		n.Scope.OnMiss = cmp.Or(p.Scope.OnMiss, c.Scope.OnMiss)
	}
	if p.OtherHosts != nil {
		n.OtherHosts = *p.OtherHosts
	}
	if most := p.Limits.ConnectionsPerLabel; most != nil {
		n.Limits.ConnectionsPerLabel = *most
	}
	return n
}

// chosen returns the configuration that the command line chooses: that of a
// profile, or for those who have none.
func (c *command) chosen(config *config) (*config, error) {
	switch {
	case c.profile != "":
		return config.as(c.profile)
	case c.label != "":
		return config.forLabel(c.label)
	}
	return config.alone(), nil
}

// as returns the configuration of a profile.
func (c *config) as(name string) (*config, error) {
	var names []string
	for _, p := range c.profiles {
		if p.refuse {
			continue
		}
		if p.name == name {
			return p.config, nil
		}
		names = append(names, p.name)
	}
	if len(names) == 0 {
		return nil, cli.Usagef("--profile %s: the configuration has no profiles", name)
	}
	return nil, cli.Usagef("--profile %s: it is none of %s", name, strings.Join(names, ", "))
}

// forLabel returns the configuration for clients with a session label.
func (c *config) forLabel(label string) (*config, error) {
	for _, p := range c.profiles {
		switch {
		case !p.labels.Match(label):
		case p.refuse:
			return nil, cli.Usagef("--label %s: profile %s refuses such clients", label, p.name)
		default:
			return p.config, nil
		}
	}
	return c.alone(), nil
}

// alone returns the configuration without its profiles.
func (c *config) alone() *config {
	n := *c
	n.profiles = nil
	return &n
}

// profileForAll reports whether every client has a profile.
func (c *config) profileForAll() bool {
	return slices.ContainsFunc(c.profiles, func(p profile) bool { return slices.Contains(p.patterns, "*") })
}

// identityDir is where what is registered is kept.
func (c *config) identityDir() string {
	if c.profile == "" {
		return c.StateDir
	}
	return filepath.Join(c.StateDir, "profiles", c.profile)
}

// refreshFile is where the last refresh of the log-in is kept. All who act by the
// same log-in must know of it, for a refresh token is good once.
func (c *config) refreshFile() string {
	if c.login.own {
		return filepath.Join(c.login.dir, "refresh.json")
	}
	home := filepath.Clean(c.login.dir)
	if c.profile == "" || home == filepath.Clean(c.commonLogin.dir) {
		return filepath.Join(c.StateDir, "refresh.json")
	}
	sum := sha256.Sum256([]byte(home))
	return filepath.Join(c.StateDir, "profiles", "refresh-"+hex.EncodeToString(sum[:8])+".json")
}
