package config

import (
	"slices"

	"github.com/agentproxy/agentproxy/signer"
)

// The values of signer.use.
const (
	UseAuto      = "auto"
	UseAssertion = "agent-assertion"
	UseBearer    = "bearer"
	UseCommand   = "command"
	UseToken     = "token"
	UseNone      = "none"   // in rules only: without any credential
	UseClient    = "client" // in rules only: as the client sent it
	UseRefuse    = "refuse" // in rules only
)

// The values of signer.on_failure.
const (
	FailToBearer = "bearer"
	FailToRefuse = "refuse"
)

// SignerRule names a signer and its settings.
type SignerRule struct {
	Use       string   `yaml:"use" enum:"auto,agent-assertion,bearer,command,token"`
	OnFailure string   `yaml:"on_failure" enum:"bearer,refuse"`
	Command   []string `yaml:"command"`
	TokenEnv  string   `yaml:"token_env"`
	TokenFile string   `yaml:"token_file"`
}

// Signer says who signs: the default, but for requests that a rule is about.
type Signer struct {
	Default SignerRule `yaml:",inline"`
	Rules   []Rule     `yaml:"rules"`
}

// Rule names the signer of the requests for a host and path.
type Rule struct {
	Host    string     `yaml:"host" doc:"The hosts that the rule is for; without it, all."`
	Methods []string   `yaml:"methods" doc:"The methods that the rule is for; without it, all." enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`
	Path    string     `yaml:"path" doc:"The paths that the rule is for; without it, all. * and ? match within a segment, ** across segments."`
	Signer  SignerRule `yaml:",inline"`
}

// Match returns the requests that the rule is about.
func (r Rule) Match() signer.Match {
	return signer.Match{Host: r.Host, Methods: r.Methods, Path: r.Path}
}

// All returns the default and then the signers of the rules.
func (s Signer) All() []SignerRule {
	all := []SignerRule{s.Default}
	for _, r := range s.Rules {
		all = append(all, r.Signer)
	}
	return all
}

// Key returns the key that the settings of the i-th signer of [Signer.All] stand below.
func (s Signer) Key(i int) string {
	if i == 0 {
		return "signer"
	}
	return element("signer.rules", i-1)
}

// UsesLogin reports whether the default signer needs the log-in.
func (s Signer) UsesLogin() bool { return s.Default.Use != UseToken && s.Default.Use != UseCommand }

// UsesAgent reports whether some request may be signed as an agent, so that one has to be
// registered.
func (s Signer) UsesAgent() bool {
	return slices.ContainsFunc(s.All(), func(r SignerRule) bool { return r.Use == UseAuto || r.Use == UseAssertion })
}

func (s Signer) check() error {
	var m mistakes
	switch use := s.Default.Use; use {
	case UseNone, UseClient, UseRefuse:
		m.wrong("signer.use", "%s is for rules: a proxy that signs nothing is of no use; name auto, agent-assertion, bearer, command or token", use)
	}
	m.add(below("signer", s.Default.check()))
	for i, rule := range s.Rules {
		m.add(below(element("signer.rules", i), rule.check()))
	}
	return m.err()
}

func (r Rule) check() error {
	var m mistakes
	if r.Host == "" && r.Path == "" && len(r.Methods) == 0 {
		m.wrong("", "it matches everything; give it a host, methods or a path, or change signer.use")
	}
	if _, err := signer.NewRule(r.Match(), signer.None{}); err != nil {
		m.add(at("", err))
	}
	if r.Signer.Use == "" {
		m.wrong("", "use is missing; name a signer, none, client or refuse")
		return m.err()
	}
	m.add(r.Signer.check())
	if r.Signer.OnFailure != "" && r.Signer.Use != UseAuto {
		m.wrong("on_failure", "it is only used by use: auto, but use is %s", r.Signer.Use)
	}
	return m.err()
}

// check returns an error if something that the signer needs is missing, or something is
// set that it would ignore.
func (r SignerRule) check() error {
	var m mistakes
	switch r.Use {
	case UseAuto, UseAssertion, UseBearer, UseNone, UseClient, UseRefuse:
	case UseCommand:
		if len(r.Command) == 0 || r.Command[0] == "" {
			m.wrong("command", "a command is needed: a program and its arguments, as in [pass, show, chatgpt]")
		}
	case UseToken:
		if (r.TokenEnv == "") == (r.TokenFile == "") {
			m.wrong("use", "token needs either token_env or token_file, to say where the token is")
		}
	default:
		m.wrong("use", "%q is none of auto, agent-assertion, bearer, command, token", r.Use)
		return m.err() // what it needs is not known
	}
	if r.Use != UseCommand && len(r.Command) > 0 {
		m.wrong("command", "it is only used by use: command, but use is %s", r.Use)
	}
	for _, unused := range [][2]string{{"token_env", r.TokenEnv}, {"token_file", r.TokenFile}} {
		if r.Use != UseToken && unused[1] != "" {
			m.wrong(unused[0], "it is only used by use: token, but use is %s", r.Use)
		}
	}
	if r.OnFailure != "" {
		m.oneOf("on_failure", r.OnFailure, FailToBearer, FailToRefuse)
	}
	return m.err()
}
