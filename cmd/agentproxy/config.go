package main

import (
	"fmt"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// config is the configuration file. config.example.yaml explains every key.
type config struct {
	Listen     string          `yaml:"listen"`
	Admin      string          `yaml:"admin"`
	AdminToken string          `yaml:"admin_token"`
	StateDir   string          `yaml:"state_dir"`
	ChatGPT    chatgptConfig   `yaml:"chatgpt"`
	Identity   identityConfig  `yaml:"identity"`
	Signer     signerConfig    `yaml:"signer"`
	Scope      scopeConfig     `yaml:"scope"`
	Clients    clientsConfig   `yaml:"clients"`
	Upstream   upstreamConfig  `yaml:"upstream"`
	OtherHosts otherHosts      `yaml:"other_hosts"`
	OtherPorts []string        `yaml:"other_ports"`
	Limits     limitsConfig    `yaml:"limits"`
	Profiles   []profileConfig `yaml:"profiles"`
	Log        logConfig       `yaml:"log"`
	Audit      auditConfig     `yaml:"audit"`
	Authz      authzConfig     `yaml:"authz"`
	Run        runConfig       `yaml:"run"`

	AdminTokenFile string `yaml:"admin_token_file"`

	RetryBodyLimit int64 `yaml:"retry_body_limit"`

	// What validate makes of the above.
	intercept     hosts.Patterns
	other         proxy.OtherHosts
	limits        proxy.Limits
	entrance      entrance // of clients
	adminEntrance entrance
	authzEntrance entrance
	upstream      upstream.Config
	overrides     identity.Overrides
	accessToken   identity.Secret // of the environment, "" if it is not used
	profiles      []profile

	// In the configuration of a profile: its name, and the log-in of those who have
	// none.
	profile     string
	commonLogin loginPlace
	login       loginPlace
	homeNamed   bool // identity.codex_home is set, of this very profile

	watchAfter   time.Duration // identity.AgentConfig's
	loginInPlace bool          // auth.json is written in place, for [launch] hides it by a mount

	source *configSource
	read   func(path string) ([]byte, error) // of the files that keys name
}

type chatgptConfig struct {
	BaseURL string   `yaml:"base_url"`
	Hosts   []string `yaml:"hosts"`
}

type identityConfig struct {
	CodexHome   string `yaml:"codex_home"`
	Login       string `yaml:"login"`
	Store       string `yaml:"store"`
	File        string `yaml:"file"`
	WorkspaceID string `yaml:"workspace_id"`
	Register    bool   `yaml:"register"`
	Protocol    string `yaml:"protocol"`
}

// The values of identity.store.
const (
	storeState   = "state"
	storeKeyring = "keyring"
)

type clientsConfig struct {
	Token       string  `yaml:"token"`
	TokenFile   string  `yaml:"token_file"`
	TokensFile  string  `yaml:"tokens_file"`
	TrustLabels bool    `yaml:"trust_labels"`
	AllowUIDs   []int64 `yaml:"allow_uids"`
}

type upstreamConfig struct {
	ConnectTo    map[string]string `yaml:"connect_to"`
	CAFile       string            `yaml:"ca_file"`
	Proxy        string            `yaml:"proxy"`
	AllowPrivate []string          `yaml:"allow_private"`
}

type limitsConfig struct {
	Connections         int    `yaml:"connections"`
	ConnectionsPerLabel int    `yaml:"connections_per_label"`
	HeaderBytes         int    `yaml:"header_bytes"`
	HeaderFields        int    `yaml:"header_fields"`
	HandshakeTimeout    string `yaml:"handshake_timeout"`
	IdleTimeout         string `yaml:"idle_timeout"`
}

// runConfig is for agentproxy run.
type runConfig struct {
	Isolate string       `yaml:"isolate"`
	Env     runEnvConfig `yaml:"env"`
	Hide    []string     `yaml:"hide"`
}

// runEnvConfig names variables of COMMAND's environment.
type runEnvConfig struct {
	Pass []string `yaml:"pass"`
	Drop []string `yaml:"drop"`
}

type logConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

type auditConfig struct {
	File      string `yaml:"file"`
	Fsync     bool   `yaml:"fsync"`
	OnFailure string `yaml:"on_failure"`
}

// The values of audit.on_failure.
const (
	auditRefuse   = "refuse"
	auditContinue = "continue"
)

// otherHosts is a word or a list of host patterns.
type otherHosts struct {
	word string
	list []string
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (o *otherHosts) UnmarshalYAML(unmarshal func(any) error) error {
	*o = otherHosts{}
	if unmarshal(&o.list) == nil {
		return nil
	}
	o.list = nil
	return unmarshal(&o.word)
}

func defaultConfig() *config {
	return &config{
		Listen: "127.0.0.1:8080",
		Admin:  "127.0.0.1:9080",
		ChatGPT: chatgptConfig{
			BaseURL: "https://chatgpt.com/backend-api",
			Hosts:   []string{"chatgpt.com", "*.chatgpt.com", "chat.openai.com", "chatgpt-staging.com", "*.chatgpt-staging.com"},
		},
		Identity:   identityConfig{Login: loginAuto, Store: storeState, Register: true, Protocol: string(identity.ProtocolAuto)},
		Signer:     signerConfig{Default: signerRule{Use: useAuto, OnFailure: "bearer"}},
		Scope:      scopeConfig{Allow: []scopeEntry{{Word: signer.WordCodex}}, OnMiss: missRefuse},
		OtherHosts: otherHosts{word: "tunnel"},
		OtherPorts: []string{"80", "443"},
		Limits:     defaultLimits(),
		Log:        logConfig{Level: "info", Format: "auto"},
		Audit:      auditConfig{OnFailure: auditRefuse},
		Run:        runConfig{Isolate: string(launch.Auto)},

		RetryBodyLimit: proxy.DefaultRetryBodyLimit,
	}
}

func defaultLimits() limitsConfig {
	l := proxy.DefaultLimits()
	return limitsConfig{
		Connections:         l.Connections,
		ConnectionsPerLabel: l.ConnectionsPerLabel,
		HeaderBytes:         l.HeaderBytes,
		HeaderFields:        l.HeaderFields,
		HandshakeTimeout:    "30s",
		IdleTimeout:         "5m",
	}
}

// configError is a mistake in the configuration: where it is, what it is and
// what is wanted. The program ends with exit code 2.
type configError struct {
	where string // the file, with a line where one is known
	err   error
}

func (e *configError) Error() string { return e.where + ": " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// loadConfig reads the configuration from path, or the defaults where path is
// "", lets the environment override the top-level scalars, and checks all.
func loadConfig(path string, env cli.Environment) (*config, error) {
	return readConfig(path, env, readFile)
}

// readConfig is loadConfig by way of read, which is asked for the configuration
// and for what it names but looks after itself.
func readConfig(path string, env cli.Environment, read func(path string) ([]byte, error)) (*config, error) {
	c := defaultConfig()
	source := &configSource{name: "configuration", from: make(map[string]string)}
	c.source, c.read = source, read
	if path != "" {
		raw, err := read(path)
		if err != nil {
			return nil, &configError{path, fmt.Errorf("%w; name an existing file with --config, or leave it out for the defaults", cli.Cause(err))}
		}
		source.name = path
		if err := source.decode(raw, c); err != nil {
			return nil, err
		}
	}
	for _, override := range []struct {
		key, name string
		set       func(string)
	}{
		{"listen", "AGENTPROXY_LISTEN", func(s string) { c.Listen = s }},
		{"admin", "AGENTPROXY_ADMIN", func(s string) { c.Admin = s }},
		{"state_dir", "AGENTPROXY_STATE_DIR", func(s string) { c.StateDir = s }},
		{"other_hosts", "AGENTPROXY_OTHER_HOSTS", func(s string) { c.OtherHosts = otherHosts{word: s} }},
	} {
		if value, ok := env.Lookup(override.name); ok {
			override.set(value)
			source.from[override.key] = override.name
		}
	}
	if key, err := c.validate(env); err != nil {
		return nil, source.errorAt(key, err)
	}
	return c, nil
}
