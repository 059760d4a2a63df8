package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/signer"
)

// File holds the keys of a configuration file, as YAML reads them.
// config.example.yaml explains every key.
type File struct {
	Listen         string        `yaml:"listen" kind:"address"`
	Admin          string        `yaml:"admin" kind:"address"`
	AdminToken     string        `yaml:"admin_token" kind:"text" secret:"true"`
	StateDir       string        `yaml:"state_dir"`
	ChatGPT        chatgptKeys   `yaml:"chatgpt" doc:"The backend, and the hosts whose connections are decrypted."`
	Identity       identityKeys  `yaml:"identity" doc:"The log-in and the agent identity."`
	Signer         Signer        `yaml:"signer" doc:"Who signs."`
	Scope          Scope         `yaml:"scope"`
	Clients        clientsKeys   `yaml:"clients" doc:"Who may use the proxy."`
	Upstream       upstreamKeys  `yaml:"upstream" doc:"How servers are reached."`
	OtherHosts     otherHosts    `yaml:"other_hosts"`
	OtherPorts     []string      `yaml:"other_ports"`
	Limits         limitsKeys    `yaml:"limits"`
	Profiles       []profileKeys `yaml:"profiles"`
	Log            Log           `yaml:"log" doc:"The log."`
	Audit          Audit         `yaml:"audit"`
	Authz          authzKeys     `yaml:"authz"`
	Usage          Usage         `yaml:"usage"`
	Exchange       exchangeKeys  `yaml:"exchange"`
	Run            Run           `yaml:"run"`
	AdminTokenFile string        `yaml:"admin_token_file"`
	RetryBodyLimit int64         `yaml:"retry_body_limit" min:"0"`
}

type chatgptKeys struct {
	BaseURL string   `yaml:"base_url"`
	Hosts   []string `yaml:"hosts"`
}

type identityKeys struct {
	CodexHome   string `yaml:"codex_home"`
	Login       string `yaml:"login" enum:"auto,own,codex"`
	Store       string `yaml:"store" enum:"state,keyring"`
	File        string `yaml:"file"`
	WorkspaceID string `yaml:"workspace_id" kind:"text"`
	Register    bool   `yaml:"register"`
	Protocol    string `yaml:"protocol" enum:"auto,accounts,backend"`
}

type clientsKeys struct {
	Token         string  `yaml:"token" kind:"text" secret:"true"`
	TokenFile     string  `yaml:"token_file"`
	TokensFile    string  `yaml:"tokens_file"`
	Issued        string  `yaml:"issued" enum:"also,only,off"`
	IssuedKey     string  `yaml:"issued_key_file"`
	IssuedRevoked string  `yaml:"issued_revoked_file"`
	TrustLabels   bool    `yaml:"trust_labels"`
	AllowUIDs     []int64 `yaml:"allow_uids" min:"0"`
}

type upstreamKeys struct {
	ConnectTo    map[string]string `yaml:"connect_to"`
	CAFile       string            `yaml:"ca_file"`
	Proxy        string            `yaml:"proxy" secret:"userinfo"`
	AllowPrivate []string          `yaml:"allow_private"`
	PingAfter    string            `yaml:"ping_after" kind:"duration"`
}

type limitsKeys struct {
	Connections          int    `yaml:"connections" min:"1"`
	ConnectionsPerClient int    `yaml:"connections_per_client" min:"0"`
	ConnectionsPerLabel  int    `yaml:"connections_per_label" min:"1"`
	LabelsPerClient      int    `yaml:"labels_per_client"`
	RequestsPerLabel     int    `yaml:"requests_per_label" min:"1"`
	Memory               int64  `yaml:"memory" min:"0"`
	HeaderBytes          int    `yaml:"header_bytes" min:"4096"`
	HeaderFields         int    `yaml:"header_fields" min:"20"`
	HandshakeTimeout     string `yaml:"handshake_timeout" kind:"duration"`
	IdleTimeout          string `yaml:"idle_timeout" kind:"duration"`
	PingAfter            string `yaml:"ping_after" kind:"duration"`

	RequestsPerMinute      int               `yaml:"requests_per_minute" min:"0"`
	Streams                int               `yaml:"streams" min:"0"`
	TotalRequestsPerMinute int               `yaml:"total_requests_per_minute" min:"0"`
	TotalStreams           int               `yaml:"total_streams" min:"0"`
	ForLabels              []labelLimitsKeys `yaml:"for_labels"`
}

// authzKeys configure the endpoint for gateways that send requests themselves.
type authzKeys struct {
	Listen      string `yaml:"listen" kind:"address"`
	Token       string `yaml:"token" kind:"text" secret:"true"`
	TokenFile   string `yaml:"token_file"`
	LabelHeader string `yaml:"label_header"`
}

// Log configures the log.
type Log struct {
	Level  string `yaml:"level" enum:"debug,info,warn,error,disabled"`
	Format string `yaml:"format" enum:"auto,console,json"`
}

// Audit configures the audit log.
type Audit struct {
	File      string `yaml:"file"`
	Fsync     bool   `yaml:"fsync"`
	OnFailure string `yaml:"on_failure" enum:"refuse,continue"`
}

// The values of audit.on_failure.
const (
	AuditRefuse   = "refuse"
	AuditContinue = "continue"
)

// Usage configures what is noted of the tokens that responses used.
type Usage struct {
	File string `yaml:"file"`
}

// Run configures agentproxy run.
type Run struct {
	Isolate string   `yaml:"isolate" enum:"auto,always,net,off"`
	Env     RunEnv   `yaml:"env" doc:"Variables of the command's environment."`
	Hide    []string `yaml:"hide"`
}

// RunEnv names variables of COMMAND's environment.
type RunEnv struct {
	Pass []string `yaml:"pass"`
	Drop []string `yaml:"drop"`
}

// otherHosts is a word or a list of host patterns.
type otherHosts struct {
	word string
	list []string
}

// WordOrList returns the word, or the list if it is not nil.
func (o otherHosts) WordOrList() (word string, list []string) { return o.word, o.list }

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (o *otherHosts) UnmarshalYAML(unmarshal func(any) error) error {
	*o = otherHosts{}
	if unmarshal(&o.list) == nil {
		return nil
	}
	o.list = nil
	return unmarshal(&o.word)
}

// Defaults returns the keys of an empty file.
func Defaults() *File {
	limits := access.DefaultLimits()
	return &File{
		Listen: "127.0.0.1:8080",
		Admin:  "127.0.0.1:9080",
		ChatGPT: chatgptKeys{
			BaseURL: "https://chatgpt.com/backend-api",
			Hosts:   []string{"chatgpt.com", "*.chatgpt.com", "chat.openai.com", "chatgpt-staging.com", "*.chatgpt-staging.com"},
		},
		Identity:   identityKeys{Login: LoginAuto, Store: StoreState, Register: true, Protocol: string(identity.ProtocolAuto)},
		Signer:     Signer{Default: SignerRule{Use: UseAuto, OnFailure: FailToBearer}},
		Scope:      Scope{Allow: []ScopeEntry{{Word: signer.WordCodex}}, OnMiss: MissRefuse},
		Clients:    clientsKeys{Issued: IssuedAlso},
		OtherHosts: otherHosts{word: "tunnel"},
		OtherPorts: []string{"80", "443"},
		Limits: limitsKeys{
			Connections:         limits.Connections,
			ConnectionsPerLabel: limits.ConnectionsPerLabel,
			LabelsPerClient:     limits.LabelsPerClient,
			RequestsPerLabel:    limits.RequestsPerLabel,
			Memory:              limits.Memory,
			HeaderBytes:         limits.HeaderBytes,
			HeaderFields:        limits.HeaderFields,
			HandshakeTimeout:    "30s",
			IdleTimeout:         "5m",
			PingAfter:           "1m",
		},
		Upstream:       upstreamKeys{PingAfter: "15s"},
		Log:            Log{Level: "info", Format: "auto"},
		Audit:          Audit{OnFailure: AuditRefuse},
		Exchange:       exchangeKeys{TTL: "1h"},
		Run:            Run{Isolate: string(IsolateAuto)},
		RetryBodyLimit: proxy.DefaultRetryBodyLimit,
	}
}

// override replaces keys by the flags and variables that override them. It returns the
// names of these by key.
func (f *File) override(env cli.Environment) map[string]string {
	from := make(map[string]string)
	set := func(key, name string, to *string) {
		if value, ok := env.Lookup(name); ok {
			*to, from[key] = value, name
		}
	}
	set("listen", "AGENTPROXY_LISTEN", &f.Listen)
	set("admin", "AGENTPROXY_ADMIN", &f.Admin)
	set("state_dir", "AGENTPROXY_STATE_DIR", &f.StateDir)
	other := otherHosts{}
	if set("other_hosts", "AGENTPROXY_OTHER_HOSTS", &other.word); from["other_hosts"] != "" {
		f.OtherHosts = other
	}
	if listen, ok := env.Flags["listen"]; ok {
		f.Listen, from["listen"] = listen, "--listen"
	}
	return from
}

// surroundings holds what a configuration takes from the environment besides keys.
type surroundings struct {
	accessToken identity.Secret // "" where the file names a log-in
	homeNamed   bool            // identity.codex_home is set
	overrides   backend.Overrides
}

// complete fills in the directories that the file leaves to the environment, and returns
// what else comes from there.
func (f *File) complete(env cli.Environment) (s surroundings, err error) {
	f.ChatGPT.BaseURL = backend.NormalizeBaseURL(f.ChatGPT.BaseURL) // two spellings are the same to a reload
	if f.StateDir == "" {
		if f.StateDir, err = defaultStateDir(env); err != nil {
			return s, at("state_dir", err)
		}
	}
	// Programs that run in other directories are given paths below it.
	if f.StateDir, err = filepath.Abs(f.StateDir); err != nil {
		return s, at("state_dir", err)
	}
	s.homeNamed = f.Identity.CodexHome != ""
	if !s.homeNamed {
		if f.Identity.File == "" && f.Identity.Login == LoginAuto {
			// Codex prefers this variable to auth.json. A log-in that the configuration
			// names is meant to be used.
			s.accessToken = identity.Secret(strings.TrimSpace(env.Get(AccessTokenVariable)))
		}
		if f.Identity.CodexHome, err = codex.DefaultHome(env.Get); err != nil {
			return s, at("identity.codex_home", err)
		}
	}
	s.overrides, err = backend.OverridesFrom(env.Get)
	return s, at("identity", err)
}

// AccessTokenVariable is the variable in which Codex looks for an access token of a
// workspace, or the JWT of an agent identity.
const AccessTokenVariable = "CODEX_ACCESS_TOKEN"

// defaultStateDir returns the state directory that is used where none is configured.
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
	return "", fmt.Errorf("neither XDG_STATE_HOME nor HOME is set, so there is no place for the CA; set state_dir")
}
