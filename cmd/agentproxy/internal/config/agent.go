package config

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/signer"
)

// Agent is what clients act as: all clients without a profile, or those of one profile.
type Agent struct {
	Profile             string // its name, "" for clients without one
	Identity            Identity
	Signer              Signer
	Scope               Scope
	Intercept           hosts.Patterns
	OtherHosts          proxy.OtherHosts
	ConnectionsPerLabel int
	Rates               ratelimit.Rules

	key string // that its keys stand below, "" for none
}

// Key returns the full key of one of the agent's keys, such as
// "profiles[0].signer.command".
func (a *Agent) Key(key string) string {
	if a.key == "" {
		return key
	}
	return a.key + "." + key
}

// Identity says which log-in and which agent identity are used, and where they are kept.
type Identity struct {
	CodexHome   string
	OwnLogin    OwnLogin
	Store       string // StoreState or StoreKeyring
	File        string // that somebody else keeps, "" for none
	WorkspaceID string
	Register    bool
	Protocol    identity.Protocol
	AccessToken identity.Secret // the log-in, "" for that in CodexHome
	Overrides   backend.Overrides
	StateDir    string // of the identity and its tasks
	RefreshFile string // of the last refresh of the log-in
}

// The values of identity.store.
const (
	StoreState   = "state"
	StoreKeyring = "keyring"
)

// agentKeys are the keys that a profile may have of its own.
type agentKeys struct {
	identity            identityKeys
	accessToken         bool   // the log-in of the environment may be used
	profileLogin        string // identity.login of a profile, "" for clients without one
	profileHome         bool   // the profile has an identity.codex_home
	signer              Signer
	scope               Scope
	hosts               []string // nil for all that are intercepted
	otherHosts          otherHosts
	connectionsPerLabel int
	rates               rateKeys
}

func (f *File) agentKeys() agentKeys {
	return agentKeys{
		identity: f.Identity, accessToken: true, signer: f.Signer, scope: f.Scope,
		otherHosts: f.OtherHosts, connectionsPerLabel: f.Limits.ConnectionsPerLabel, rates: f.Limits.rates(),
	}
}

// agentMaker makes the agents of a configuration.
type agentMaker struct {
	file      *File
	around    surroundings
	intercept hosts.Patterns
}

// agent checks the keys of a profile, or of clients without one where the name is "".
func (m agentMaker) agent(profile string, k agentKeys) (Agent, error) {
	a := Agent{Profile: profile, Signer: k.signer, Scope: k.scope, Intercept: m.intercept, ConnectionsPerLabel: k.connectionsPerLabel}
	var all mistakes
	var err error
	a.Identity, err = m.identity(profile, k)
	all.add(err)
	all.add(k.signer.check())
	all.add(k.scope.check(m.file.ChatGPT.BaseURL))
	a.OtherHosts, err = k.otherHosts.check(m.file.OtherPorts)
	all.add(err)
	limits := m.file.Limits
	limits.ConnectionsPerLabel = k.connectionsPerLabel
	_, err = limits.check()
	all.add(err)
	a.Rates, err = k.rates.check()
	all.add(err)
	if k.hosts == nil {
		return a, all.err()
	}
	if len(k.hosts) == 0 {
		all.wrong("hosts", "nothing would be signed; leave the key out for all of chatgpt.hosts")
	}
	a.Intercept, err = parseHostPatterns("hosts", k.hosts)
	all.add(err)
	for i, pattern := range a.Intercept {
		if m.intercept != nil && err == nil && !m.intercept.Cover(pattern) {
			all.wrong(element("hosts", i), "%s is not among chatgpt.hosts, which are those that are signed for; add it there, or leave it out", pattern)
		}
	}
	return a, all.err()
}

func (m agentMaker) identity(profile string, k agentKeys) (Identity, error) {
	id := Identity{
		CodexHome: k.identity.CodexHome, Store: k.identity.Store, File: k.identity.File, WorkspaceID: k.identity.WorkspaceID,
		Register: k.identity.Register, Protocol: identity.Protocol(k.identity.Protocol), Overrides: m.around.overrides,
	}
	if k.accessToken {
		id.AccessToken = m.around.accessToken
	}
	id.StateDir, id.RefreshFile = m.directories(profile, id.CodexHome)
	var all mistakes
	var err error
	id.OwnLogin, err = m.ownLogin(id.StateDir, k)
	all.add(err)
	all.oneOf("identity.store", id.Store, StoreState, StoreKeyring)
	all.oneOf("identity.protocol", k.identity.Protocol, string(identity.ProtocolAuto), string(identity.ProtocolAccounts), string(identity.ProtocolBackend))
	if id.File != "" && id.Store == StoreKeyring {
		all.wrong("identity.file", "identity.store is keyring, which would not be used; keep one of them")
	}
	return id, all.err()
}

// directories returns where a profile's identity and the last refresh of its log-in are
// kept. All agents with one log-in share the refresh, for a refresh token is good once.
func (m agentMaker) directories(profile, codexHome string) (stateDir, refreshFile string) {
	dir := m.file.StateDir
	stateDir, refreshFile = dir, filepath.Join(dir, "refresh.json")
	if profile == "" {
		return stateDir, refreshFile
	}
	stateDir = filepath.Join(dir, "profiles", profile)
	if home := filepath.Clean(codexHome); home != filepath.Clean(m.file.Identity.CodexHome) {
		sum := sha256.Sum256([]byte(home))
		refreshFile = filepath.Join(dir, "profiles", "refresh-"+hex.EncodeToString(sum[:8])+".json")
	}
	return stateDir, refreshFile
}

// check returns what becomes of hosts that are not intercepted.
func (o otherHosts) check(ports []string) (proxy.OtherHosts, error) {
	other := proxy.OtherHosts{Ports: hosts.PortRanges{}} // nil would be the default ports
	var m mistakes
	switch {
	case o.list != nil:
		only, err := parseHostPatterns("other_hosts", o.list)
		m.add(err)
		other.Refuse, other.Only = true, only
	case o.word == "refuse":
		other.Refuse = true
	case o.word != "tunnel":
		m.wrong("other_hosts", "%q is neither tunnel, nor refuse, nor a list of hosts", o.word)
	}
	for i, s := range ports {
		r, err := hosts.ParsePortRange(s)
		m.add(at(element("other_ports", i), err))
		other.Ports = append(other.Ports, r)
	}
	return other, m.err()
}

// parseHostPatterns parses the list at key. It returns nil with an error.
func parseHostPatterns(key string, list []string) (hosts.Patterns, error) {
	patterns := make(hosts.Patterns, len(list))
	var m mistakes
	for i, s := range list {
		var err error
		if patterns[i], err = hosts.ParsePattern(s); err != nil {
			m.add(at(element(key, i), err))
			continue
		}
		if suffix, ok := signer.CoversPublicSuffix(s); ok && key != "other_hosts" {
			m.wrong(element(key, i), "host pattern %q: %s is a public suffix, below which anybody can have a name; name the hosts", s, suffix)
		}
	}
	if len(m) > 0 {
		return nil, m.err()
	}
	return patterns, nil
}
