// Package config reads the configuration file and checks it.
//
// A [File] holds the keys as they stand in the file. [Load] makes an immutable [Config]
// of it. Nothing is opened, looked up or resolved on the way: the files and programs that
// keys name are opened by package app.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
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

	file       *File
	source     *source
	commandDir string
}

// Load reads the configuration at path, or takes the defaults where path is "". Flags and
// variables of the environment override the top-level scalars. The error is an [*Error].
func Load(path string, env cli.Environment) (*Config, error) {
	return LoadWith(path, env, cli.ReadFile)
}

// LoadWith is [Load] with a function that reads the file.
func LoadWith(path string, env cli.Environment, read func(path string) ([]byte, error)) (*Config, error) {
	c, wrong := load(path, env, read)
	if len(wrong) > 0 {
		return nil, wrong[0]
	}
	return c, nil
}

// Mistakes returns all mistakes in the configuration at path, in the order of its lines.
func Mistakes(path string, env cli.Environment) []*Error {
	_, wrong := load(path, env, cli.ReadFile)
	sortByLine(wrong)
	return wrong
}

// load returns the configuration at path, or what is wrong with it. Keys that do not exist,
// and values of wrong types, come first.
func load(path string, env cli.Environment, read func(path string) ([]byte, error)) (*Config, []*Error) {
	f := Defaults()
	s := &source{name: "configuration", path: path}
	found := path != "" && path == DefaultPath(env)
	if path != "" {
		raw, err := read(path)
		if err != nil {
			remedy := "name an existing file with --config"
			if errors.Is(err, fs.ErrPermission) {
				remedy = "run this as a user who may read it, as by sudo -u, name another file with --config"
			}
			return nil, fault(path, fmt.Errorf("%w; %s, or none for the defaults", safefile.Cause(err), remedy))
		}
		if found {
			if err := checkTrusted(path); err != nil {
				return nil, fault(path, err)
			}
		}
		s.name = path
		if err := s.parse(raw); err != nil {
			return nil, []*Error{err}
		}
		f = s.decode(Defaults)
	}
	s.from = f.override(env)
	s.add(f.expandHome(env))
	if found {
		s.add(f.checkAbsolute(s.from))
	}
	s.left = map[string]bool{"state_dir": f.StateDir == "", "identity.codex_home": f.Identity.CodexHome == ""}
	around, err := f.complete(env)
	s.add(err)
	c, err := f.check(around, env)
	s.add(err)
	if len(s.wrong) > 0 {
		return nil, s.wrong
	}
	if c.source = s; found {
		c.commandDir = filepath.Dir(path)
	}
	return c, nil
}

// Path returns the path of the configuration file, "" if there is none.
func (c *Config) Path() string { return c.source.path }

// CommandDir returns the directory in which the programs of signer.command run: that of the
// default file, in which no path begins where agentproxy is started, or else "" for that one.
func (c *Config) CommandDir() string { return c.commandDir }

// Wrong returns err as the mistake in the value of a key, such as "upstream.ca_file".
func (c *Config) Wrong(key string, err error) error {
	if err == nil {
		return nil
	}
	return c.source.locate(at(key, err))
}

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

// check makes a Config of the keys. The error joins a *keyError for each mistake.
func (f *File) check(around surroundings, env cli.Environment) (*Config, error) {
	c := &Config{
		StateDir: f.StateDir, BaseURL: f.ChatGPT.BaseURL, Hosts: f.ChatGPT.Hosts,
		CAFile: f.Upstream.CAFile, RetryBodyLimit: f.RetryBodyLimit,
		Log: f.Log, Audit: f.Audit, Usage: f.Usage, Run: f.Run, file: f,
	}
	var m mistakes
	if f.RetryBodyLimit < 0 {
		m.wrong("retry_body_limit", "%d is not a number of bytes; 0 keeps no body", f.RetryBodyLimit)
	}
	m.add(at("chatgpt.base_url", backend.CheckBaseURL(c.BaseURL)))
	if len(f.ChatGPT.Hosts) == 0 {
		m.wrong("chatgpt.hosts", "no host would be signed for; leave the key out for ChatGPT's")
	}
	var err error
	c.Clients, err = f.checkClients()
	m.add(err)
	c.Admin, err = f.checkAdmin()
	m.add(err)
	c.Gateways, c.LabelHeader, err = f.Authz.check()
	m.add(err)
	c.Exchange, err = f.checkExchange()
	m.add(err)
	c.Limits, err = f.Limits.check()
	m.add(err)
	c.Upstream, err = f.Upstream.check(env)
	m.add(err)
	m.add(f.Log.check())
	m.oneOf("audit.on_failure", f.Audit.OnFailure, AuditRefuse, AuditContinue)
	m.add(f.Run.check())
	intercept, err := parseHostPatterns("chatgpt.hosts", f.ChatGPT.Hosts)
	m.add(err)
	maker := agentMaker{file: f, around: around, intercept: intercept}
	c.Agent, err = maker.agent("", f.agentKeys())
	m.add(err)
	c.Profiles, err = maker.profiles(each(err))
	m.add(err)
	if m.err() != nil {
		return nil, m.err()
	}
	return c, nil
}

func (l limitsKeys) check() (access.Limits, error) {
	limits := access.Limits{
		Connections:          l.Connections,
		ConnectionsPerClient: l.ConnectionsPerClient,
		ConnectionsPerLabel:  l.ConnectionsPerLabel,
		LabelsPerClient:      l.LabelsPerClient,
		RequestsPerLabel:     l.RequestsPerLabel,
		Memory:               l.Memory,
		HeaderBytes:          l.HeaderBytes,
		HeaderFields:         l.HeaderFields,
	}
	var m mistakes
	limits.HandshakeTimeout = m.duration("limits.handshake_timeout", l.HandshakeTimeout)
	limits.IdleTimeout = m.duration("limits.idle_timeout", l.IdleTimeout)
	limits.PingAfter = m.duration("limits.ping_after", l.PingAfter)
	if limits.PingAfter < 0 {
		m.wrong("limits.ping_after", "%s is before now; give at least 1s, or 0s for no pings", limits.PingAfter)
	}
	limits.PingAfter = orNever(limits.PingAfter)
	limits.Check(func(key string, err error) { m.add(at("limits."+key, err)) })
	return limits, m.err()
}

// orNever returns an interval that is negative where that of the configuration is 0.
func orNever(interval time.Duration) time.Duration {
	if interval == 0 {
		return -1
	}
	return interval
}

func (u upstreamKeys) check(env cli.Environment) (upstream.Config, error) {
	config := upstream.Config{ConnectTo: u.ConnectTo}
	var m mistakes
	for _, from := range slices.Sorted(maps.Keys(u.ConnectTo)) {
		one := upstream.Config{ConnectTo: map[string]string{from: u.ConnectTo[from]}}
		if err := one.CheckConnectTo(); err != nil {
			m.add(at("upstream.connect_to", err))
		}
	}
	for i, s := range u.AllowPrivate {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			m.wrong(element("upstream.allow_private", i), "%q is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32", s)
		}
		config.AllowPrivate = append(config.AllowPrivate, prefix)
	}
	ping := m.duration("upstream.ping_after", u.PingAfter)
	if ping < 0 || ping > 0 && ping < time.Second {
		m.wrong("upstream.ping_after", "%s is too short; give at least 1s, or 0s for no pings", ping)
	}
	config.PingAfter = orNever(ping)
	switch u.Proxy {
	case "":
	case "env":
		config.ProxyByURL = shellsProxy(env)
	default:
		parsed, err := url.Parse(u.Proxy)
		if err != nil || parsed.Host == "" {
			m.wrong("upstream.proxy", "it is neither a URL such as http://proxy.example:3128, nor env")
		} else {
			config.Proxy = parsed
			m.add(at("upstream.proxy", config.CheckProxy()))
		}
	}
	return config, m.err()
}

func (l Log) check() error {
	var m mistakes
	m.oneOf("log.level", l.Level, "debug", "info", "warn", "error", "disabled")
	m.oneOf("log.format", l.Format, "auto", "console", "json")
	return m.err()
}

func (r Run) check() error {
	var m mistakes
	_, err := ParseIsolation(r.Isolate)
	m.add(at("run.isolate", err))
	for _, list := range []struct {
		key   string
		names []string
	}{{"run.env.pass", r.Env.Pass}, {"run.env.drop", r.Env.Drop}} {
		for i, name := range list.names {
			if name == "" || strings.ContainsAny(name, "=\x00") {
				m.wrong(element(list.key, i), "%q is not the name of a variable", name)
			}
		}
	}
	for i, path := range r.Hide {
		if !filepath.IsAbs(path) {
			m.wrong(element("run.hide", i), "%q is not an absolute path", path)
		}
	}
	return m.err()
}
