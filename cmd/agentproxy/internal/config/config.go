// Package config reads the configuration file and checks it.
//
// A [File] holds the keys as they stand in the file. [Load] makes an immutable [Config]
// of it. Nothing is opened, looked up or resolved on the way: the files and programs that
// keys name are opened by package app.
package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// Config is a configuration that was checked. It is not changed once it is made.
type Config struct {
	StateDir       string // absolute
	BaseURL        string // of the backend
	Hosts          []string
	Clients        Access // of the proxy's listener
	Admin          Access // of the admin listener
	Gateways       Access // of the endpoint for gateways
	Exchange       Exchange
	LabelHeader    string // in which gateways put a client's label, "" for none
	Upstream       upstream.Config
	CAFile         string // of further roots for Upstream, "" for none
	Limits         access.Limits
	RetryBodyLimit int64 // in bytes, 0 for no body
	Log            Log
	Audit          Audit
	Usage          Usage
	Run            Run

	// Agent is what clients without a profile act as.
	Agent    Agent
	Profiles []Profile

	file   *File
	source *source
}

// Load reads the configuration at path, or takes the defaults where path is "". Variables
// of the environment override the top-level scalars. The error is an [*Error].
func Load(path string, env cli.Environment) (*Config, error) {
	return LoadWith(path, env, cli.ReadFile)
}

// LoadWith is [Load] with a function that reads the file.
func LoadWith(path string, env cli.Environment, read func(path string) ([]byte, error)) (*Config, error) {
	f := defaults()
	s := &source{name: "configuration", path: path}
	if path != "" {
		raw, err := read(path)
		if err != nil {
			return nil, &Error{path, fmt.Errorf("%w; name an existing file with --config, or leave it out for the defaults", safefile.Cause(err))}
		}
		s.name = path
		if err := s.decode(raw, f); err != nil {
			return nil, err
		}
	}
	s.from = f.override(env)
	if err := f.expandHome(env); err != nil {
		return nil, s.locate(err)
	}
	around, err := f.complete(env)
	if err != nil {
		return nil, s.locate(err)
	}
	c, err := f.check(around, env)
	if err != nil {
		return nil, s.locate(err)
	}
	c.source = s
	return c, nil
}

// Path returns the path of the configuration file, "" if there is none.
func (c *Config) Path() string { return c.source.path }

// Wrong returns err as the mistake in the value of a key, such as "upstream.ca_file".
func (c *Config) Wrong(key string, err error) error { return c.source.locate(at(key, err)) }

// NamesProxy reports whether the file says which proxy requests leave through, be it that
// there is none.
func (c *Config) NamesProxy() bool { return c.source.has("upstream.proxy") }

// Via returns the configuration with requests leaving through the proxy that the
// environment names.
func (c *Config) Via(env cli.Environment) *Config {
	n := *c
	n.Upstream.ProxyByURL = shellsProxy(env)
	return &n
}

// shellsProxy returns the proxy that the variables of the environment name.
func shellsProxy(env cli.Environment) httpproxy.Config {
	return httpproxy.Config{
		HTTPProxy:  env.First("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: env.First("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
		NoProxy:    env.First("NO_PROXY", "no_proxy"),
	}
}

// Line returns how messages name an element of a list of an agent's configuration, with
// its line where that is known.
func (c *Config) Line(a *Agent, key string, index int) string {
	name := element(key, index)
	if a.Profile != "" {
		return "profile " + a.Profile + ", " + name
	}
	if token := c.source.find(name); token != nil {
		return name + " (" + c.source.at(token) + ")"
	}
	return name
}

// check makes a Config of the keys. The error is a *keyError.
func (f *File) check(around surroundings, env cli.Environment) (*Config, error) {
	c := &Config{
		StateDir: f.StateDir, BaseURL: f.ChatGPT.BaseURL, Hosts: f.ChatGPT.Hosts,
		CAFile: f.Upstream.CAFile, RetryBodyLimit: f.RetryBodyLimit,
		Log: f.Log, Audit: f.Audit, Usage: f.Usage, Run: f.Run, file: f,
	}
	if f.RetryBodyLimit < 0 {
		return nil, wrong("retry_body_limit", "%d is not a number of bytes; 0 keeps no body", f.RetryBodyLimit)
	}
	if err := backend.CheckBaseURL(c.BaseURL); err != nil {
		return nil, at("chatgpt.base_url", err)
	}
	if len(f.ChatGPT.Hosts) == 0 {
		return nil, wrong("chatgpt.hosts", "no host would be signed for; leave the key out for ChatGPT's")
	}
	var err error
	if c.Clients, err = f.checkClients(); err != nil {
		return nil, err
	}
	if c.Admin, err = f.checkAdmin(); err != nil {
		return nil, err
	}
	if c.Gateways, c.LabelHeader, err = f.Authz.check(); err != nil {
		return nil, err
	}
	if c.Exchange, err = f.checkExchange(); err != nil {
		return nil, err
	}
	if c.Limits, err = f.Limits.check(); err != nil {
		return nil, err
	}
	if c.Upstream, err = f.Upstream.check(env); err != nil {
		return nil, err
	}
	for _, err := range []error{f.Log.check(), f.Audit.check(), f.Run.check()} {
		if err != nil {
			return nil, err
		}
	}
	intercept, err := parseHostPatterns("chatgpt.hosts", f.ChatGPT.Hosts)
	if err != nil {
		return nil, err
	}
	maker := agentMaker{file: f, around: around, intercept: intercept}
	if c.Agent, err = maker.agent("", f.agentKeys()); err != nil {
		return nil, err
	}
	c.Profiles, err = maker.profiles()
	return c, err
}

func (l limitsKeys) check() (access.Limits, error) {
	limits := access.Limits{
		Connections:          l.Connections,
		ConnectionsPerClient: l.ConnectionsPerClient,
		ConnectionsPerLabel:  l.ConnectionsPerLabel,
		RequestsPerLabel:     l.RequestsPerLabel,
		Memory:               l.Memory,
		HeaderBytes:          l.HeaderBytes,
		HeaderFields:         l.HeaderFields,
	}
	for _, limit := range []struct {
		key, value string
		to         *time.Duration
	}{
		{"limits.handshake_timeout", l.HandshakeTimeout, &limits.HandshakeTimeout},
		{"limits.idle_timeout", l.IdleTimeout, &limits.IdleTimeout},
	} {
		var err error
		if *limit.to, err = time.ParseDuration(limit.value); err != nil {
			return limits, wrong(limit.key, "%q is not a time such as 30s or 5m", limit.value)
		}
	}
	key, err := limits.Validate()
	return limits, at("limits."+key, err)
}

func (u upstreamKeys) check(env cli.Environment) (upstream.Config, error) {
	config := upstream.Config{ConnectTo: u.ConnectTo}
	for _, from := range slices.Sorted(maps.Keys(u.ConnectTo)) {
		one := upstream.Config{ConnectTo: map[string]string{from: u.ConnectTo[from]}}
		if err := one.CheckConnectTo(); err != nil {
			return config, at("upstream.connect_to", err)
		}
	}
	for i, s := range u.AllowPrivate {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return config, wrong(element("upstream.allow_private", i), "%q is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32", s)
		}
		config.AllowPrivate = append(config.AllowPrivate, prefix)
	}
	switch u.Proxy {
	case "":
	case "env":
		config.ProxyByURL = shellsProxy(env)
	default:
		parsed, err := url.Parse(u.Proxy)
		if err != nil || parsed.Host == "" {
			return config, wrong("upstream.proxy", "it is neither a URL such as http://proxy.example:3128, nor env")
		}
		config.Proxy = parsed
	}
	return config, at("upstream.proxy", config.CheckProxy())
}

func (l Log) check() error {
	switch l.Level {
	case "debug", "info", "warn", "error", "disabled":
	default:
		return wrong("log.level", "%q is none of debug, info, warn, error, disabled", l.Level)
	}
	switch l.Format {
	case "auto", "console", "json":
		return nil
	}
	return wrong("log.format", "%q is none of auto, console, json", l.Format)
}

func (a Audit) check() error {
	if a.OnFailure != AuditRefuse && a.OnFailure != AuditContinue {
		return wrong("audit.on_failure", "%q is neither refuse nor continue", a.OnFailure)
	}
	return nil
}

func (r Run) check() error {
	if _, err := ParseIsolation(r.Isolate); err != nil {
		return at("run.isolate", err)
	}
	for key, names := range map[string][]string{"run.env.pass": r.Env.Pass, "run.env.drop": r.Env.Drop} {
		for i, name := range names {
			if name == "" || slices.ContainsFunc([]rune(name), func(c rune) bool { return c == '=' || c == 0 }) {
				return wrong(element(key, i), "%q is not the name of a variable", name)
			}
		}
	}
	for i, path := range r.Hide {
		if !filepath.IsAbs(path) {
			return wrong(element("run.hide", i), "%q is not an absolute path", path)
		}
	}
	return nil
}
