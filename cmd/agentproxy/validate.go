package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// validate checks the configuration and prepares what comes of it. It returns
// the key that is wrong.
func (c *config) validate(env cli.Environment) (key string, err error) {
	if c.StateDir == "" {
		if c.StateDir, err = defaultStateDir(env); err != nil {
			return "state_dir", err
		}
	}
	// What is made there is named to programs that run in other directories.
	if c.StateDir, err = filepath.Abs(c.StateDir); err != nil {
		return "state_dir", err
	}
	if c.RetryBodyLimit < 0 {
		return "retry_body_limit", fmt.Errorf("%d is not a number of bytes; 0 keeps no body", c.RetryBodyLimit)
	}
	c.ChatGPT.BaseURL = identity.NormalizeBaseURL(c.ChatGPT.BaseURL)
	if err := identity.CheckBaseURL(c.ChatGPT.BaseURL); err != nil {
		return "chatgpt.base_url", err
	}
	if len(c.ChatGPT.Hosts) == 0 {
		return "chatgpt.hosts", errors.New("no host would be signed for; leave the key out for ChatGPT's")
	}
	if c.intercept, key, err = parseHostPatterns("chatgpt.hosts", c.ChatGPT.Hosts); err != nil {
		return key, err
	}
	for _, check := range []func(cli.Environment) (string, error){
		c.validateIdentity, c.validateClients, c.validateAdmin, c.validateAuthz, c.validateOtherHosts, c.validateOtherPorts, c.validateLimits, c.validateUpstream, c.validateSigner, c.validateScope, c.validateLog, c.validateAudit, c.validateRun, c.validateProfiles,
	} {
		if key, err := check(env); err != nil {
			return key, err
		}
	}
	return "", nil
}

func (c *config) validateIdentity(env cli.Environment) (key string, err error) {
	switch c.Identity.Login {
	case loginAuto, loginOwn, loginCodex:
	default:
		return "identity.login", fmt.Errorf("%q is none of auto, own, codex", c.Identity.Login)
	}
	c.homeNamed = c.profile == "" && c.Identity.CodexHome != "" || c.homeNamed
	if c.Identity.CodexHome == "" {
		if c.Identity.File == "" && c.Identity.Login == loginAuto {
			// Codex prefers it to auth.json. Who names a log-in in the configuration
			// means that one.
			c.accessToken = identity.Secret(strings.TrimSpace(env.Get(accessTokenVariable)))
		}
		if c.Identity.CodexHome, err = identity.DefaultHome(env.Get); err != nil {
			return "identity.codex_home", err
		}
	}
	if c.profile == "" {
		c.login = c.findLogin(loginPlace{dir: c.Identity.CodexHome})
	}
	if c.Identity.Store != storeState && c.Identity.Store != storeKeyring {
		return "identity.store", fmt.Errorf("%q is neither state nor keyring", c.Identity.Store)
	}
	switch identity.Protocol(c.Identity.Protocol) {
	case identity.ProtocolAuto, identity.ProtocolAccounts, identity.ProtocolBackend:
	default:
		return "identity.protocol", fmt.Errorf("%q is none of auto, accounts, backend", c.Identity.Protocol)
	}
	if c.overrides, err = identity.OverridesFrom(env.Get); err != nil {
		return "identity", err
	}
	if c.Identity.File != "" && c.Identity.Store == storeKeyring {
		return "identity.file", errors.New("identity.store is keyring, which would not be used; keep one of them")
	}
	return "", nil
}

// accessTokenVariable is the variable in which Codex looks for an access token of a
// workspace, or the JWT of an agent identity.
const accessTokenVariable = "CODEX_ACCESS_TOKEN"

func defaultStateDir(env cli.Environment) (string, error) {
	if dir := env.Get("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "agentproxy"), nil
	}
	if home := env.Get("HOME"); home != "" {
		return filepath.Join(home, ".local", "state", "agentproxy"), nil
	}
	if dir := env.Get("LOCALAPPDATA"); dir != "" {
		return filepath.Join(dir, "agentproxy"), nil
	}
	return "", errors.New("neither XDG_STATE_HOME nor HOME is set, so there is no place for the CA; set state_dir")
}

// parseHostPatterns reads the list at key. It returns the key of what is wrong.
func parseHostPatterns(key string, list []string) (hosts.Patterns, string, error) {
	patterns := make(hosts.Patterns, len(list))
	for i, s := range list {
		var err error
		if patterns[i], err = hosts.ParsePattern(s); err != nil {
			return nil, fmt.Sprintf("%s[%d]", key, i), err
		}
		if suffix, ok := signer.CoversPublicSuffix(s); ok && key != "other_hosts" {
			return nil, fmt.Sprintf("%s[%d]", key, i), fmt.Errorf("host pattern %q: %s is a public suffix, below which anybody can have a name; name the hosts", s, suffix)
		}
	}
	return patterns, "", nil
}

func (c *config) validateOtherHosts(cli.Environment) (string, error) {
	switch {
	case c.OtherHosts.list != nil:
		only, key, err := parseHostPatterns("other_hosts", c.OtherHosts.list)
		if err != nil {
			return key, err
		}
		c.other = proxy.OtherHosts{Refuse: true, Only: only}
	case c.OtherHosts.word == "tunnel":
		c.other = proxy.OtherHosts{}
	case c.OtherHosts.word == "refuse":
		c.other = proxy.OtherHosts{Refuse: true}
	default:
		return "other_hosts", fmt.Errorf("%q is neither tunnel, nor refuse, nor a list of hosts", c.OtherHosts.word)
	}
	return "", nil
}

func (c *config) validateOtherPorts(cli.Environment) (string, error) {
	c.other.Ports = hosts.PortRanges{} // not nil, which would be the default
	for i, s := range c.OtherPorts {
		ports, err := hosts.ParsePortRange(s)
		if err != nil {
			return fmt.Sprintf("other_ports[%d]", i), err
		}
		c.other.Ports = append(c.other.Ports, ports)
	}
	return "", nil
}

func (c *config) validateLimits(cli.Environment) (string, error) {
	c.limits = proxy.Limits{
		Connections:         c.Limits.Connections,
		ConnectionsPerLabel: c.Limits.ConnectionsPerLabel,
		HeaderBytes:         c.Limits.HeaderBytes,
		HeaderFields:        c.Limits.HeaderFields,
	}
	for _, limit := range []struct {
		key, value string
		to         *time.Duration
	}{
		{"limits.handshake_timeout", c.Limits.HandshakeTimeout, &c.limits.HandshakeTimeout},
		{"limits.idle_timeout", c.Limits.IdleTimeout, &c.limits.IdleTimeout},
	} {
		var err error
		if *limit.to, err = time.ParseDuration(limit.value); err != nil {
			return limit.key, fmt.Errorf("%q is not a time such as 30s or 5m", limit.value)
		}
	}
	key, err := c.limits.Validate()
	return "limits." + key, err
}

func (c *config) validateUpstream(env cli.Environment) (string, error) {
	u := upstream.Config{ConnectTo: c.Upstream.ConnectTo}
	for _, from := range slices.Sorted(maps.Keys(c.Upstream.ConnectTo)) {
		one := upstream.Config{ConnectTo: map[string]string{from: c.Upstream.ConnectTo[from]}}
		if err := one.CheckConnectTo(); err != nil {
			return "upstream.connect_to", err
		}
	}
	for i, s := range c.Upstream.AllowPrivate {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Sprintf("upstream.allow_private[%d]", i), fmt.Errorf("%q is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32", s)
		}
		u.AllowPrivate = append(u.AllowPrivate, prefix)
	}
	if file := c.Upstream.CAFile; file != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return "upstream.ca_file", fmt.Errorf("the system's roots cannot be read: %w; set SSL_CERT_FILE to a file that holds them", err)
		}
		raw, err := c.read(file)
		if err != nil {
			return "upstream.ca_file", fmt.Errorf("%s: %w; name a file of certificates in PEM form", file, cli.Cause(err))
		}
		if !pool.AppendCertsFromPEM(raw) {
			return "upstream.ca_file", fmt.Errorf("%s has no certificate; name a file of certificates in PEM form", file)
		}
		u.RootCAs = pool
	}
	switch via := c.Upstream.Proxy; via {
	case "":
	case "env":
		u.ProxyByURL = shellsProxy(env)
	default:
		parsed, err := url.Parse(via)
		if err != nil || parsed.Host == "" {
			return "upstream.proxy", errors.New("it is neither a URL such as http://proxy.example:3128, nor env")
		}
		u.Proxy = parsed
	}
	if err := u.CheckProxy(); err != nil {
		return "upstream.proxy", err
	}
	c.upstream = u
	return "", nil
}

func (c *config) validateLog(cli.Environment) (string, error) {
	switch c.Log.Level {
	case "debug", "info", "warn", "error", "disabled":
	default:
		return "log.level", fmt.Errorf("%q is none of debug, info, warn, error, disabled", c.Log.Level)
	}
	switch c.Log.Format {
	case "auto", "console", "json":
		return "", nil
	}
	return "log.format", fmt.Errorf("%q is none of auto, console, json", c.Log.Format)
}

func (c *config) validateAudit(cli.Environment) (string, error) {
	if c.Audit.OnFailure != auditRefuse && c.Audit.OnFailure != auditContinue {
		return "audit.on_failure", fmt.Errorf("%q is neither refuse nor continue", c.Audit.OnFailure)
	}
	return "", nil
}
