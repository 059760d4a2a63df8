package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/signer"
)

// sessionHold is how long a request may be signed for what auth.json said before
// it. A request takes longer on its way.
const sessionHold = time.Millisecond

// The values of signer.use.
const (
	useAuto      = "auto"
	useAssertion = "agent-assertion"
	useBearer    = "bearer"
	useCommand   = "command"
	useToken     = "token"
	useNone      = "none"   // in rules only: without any credential
	useClient    = "client" // in rules only: as the client sent it
	useRefuse    = "refuse" // in rules only
)

// signerRule names a signer and its settings.
type signerRule struct {
	Use       string   `yaml:"use"`
	OnFailure string   `yaml:"on_failure"`
	Command   []string `yaml:"command"`
	TokenEnv  string   `yaml:"token_env"`
	TokenFile string   `yaml:"token_file"`
}

type signerConfig struct {
	Default signerRule `yaml:",inline"`
	Rules   []pathRule `yaml:"rules"`
}

// pathRule has the requests for a host and path signed by a signer of its own.
type pathRule struct {
	Host    string     `yaml:"host"`
	Methods []string   `yaml:"methods"`
	Path    string     `yaml:"path"`
	Signer  signerRule `yaml:",inline"`
}

func (r pathRule) match() signer.Match {
	return signer.Match{Host: r.Host, Methods: r.Methods, Path: r.Path}
}

// tokenVariables returns the variables that tokens come from, those of profiles
// included.
func (c *config) tokenVariables() (names []string) {
	signers := []signerConfig{c.Signer}
	for _, p := range c.Profiles {
		if p.Signer != nil {
			signers = append(signers, *p.Signer)
		}
	}
	for _, s := range signers {
		names = append(names, s.Default.TokenEnv)
		for _, rule := range s.Rules {
			names = append(names, rule.Signer.TokenEnv)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func (c *config) validateSigner(cli.Environment) (string, error) {
	if use := c.Signer.Default.Use; use == useNone || use == useClient || use == useRefuse {
		return "signer.use", errors.New(use + " is for rules: a proxy that signs nothing is of no use; name auto, agent-assertion, bearer, command or token")
	}
	if key, err := c.Signer.Default.validate(); err != nil {
		return "signer." + key, err
	}
	for i, rule := range c.Signer.Rules {
		at := fmt.Sprintf("signer.rules[%d].", i)
		if rule.Signer.Use == "" {
			return at[:len(at)-1], errors.New("use is missing; name a signer, none, client or refuse")
		}
		if rule.Host == "" && rule.Path == "" && len(rule.Methods) == 0 {
			return at[:len(at)-1], errors.New("it matches everything; give it a host, methods or a path, or change signer.use")
		}
		if _, err := signer.NewRule(rule.match(), signer.None{}); err != nil {
			return at[:len(at)-1], err
		}
		if key, err := rule.Signer.validate(); err != nil {
			return at + key, err
		}
		if rule.Signer.OnFailure != "" && rule.Signer.Use != useAuto {
			return at + "on_failure", fmt.Errorf("it is only used by use: auto, but use is %s", rule.Signer.Use)
		}
	}
	return "", nil
}

// validate checks that what the signer needs is there, and nothing that it
// would ignore.
func (r signerRule) validate() (key string, err error) {
	switch r.Use {
	case useAuto, useAssertion, useBearer, useNone, useClient, useRefuse:
	case useCommand:
		if len(r.Command) == 0 || r.Command[0] == "" {
			return "command", errors.New("a command is needed: a program and its arguments, as in [pass, show, chatgpt]")
		}
		if _, err := exec.LookPath(r.Command[0]); err != nil {
			return "command", lookPathError(r.Command[0], err)
		}
	case useToken:
		if (r.TokenEnv == "") == (r.TokenFile == "") {
			return "use", errors.New("token needs either token_env or token_file, to say where the token is")
		}
	default:
		return "use", fmt.Errorf("%q is none of auto, agent-assertion, bearer, command, token", r.Use)
	}
	if r.Use != useCommand && len(r.Command) > 0 {
		return "command", fmt.Errorf("it is only used by use: command, but use is %s", r.Use)
	}
	for key, value := range map[string]string{"token_env": r.TokenEnv, "token_file": r.TokenFile} {
		if r.Use != useToken && value != "" {
			return key, fmt.Errorf("it is only used by use: token, but use is %s", r.Use)
		}
	}
	switch r.OnFailure {
	case "", "bearer", "refuse":
	default:
		return "on_failure", fmt.Errorf("%q is neither bearer nor refuse", r.OnFailure)
	}
	return "", nil
}

// lookPathError says why a program that the user named cannot be run.
func lookPathError(program string, err error) error {
	return fmt.Errorf("%s: %w; name a program that is installed, or its path", program, cli.Cause(errors.Unwrap(err)))
}

// countSigner has what comes of asking a signer counted under a name.
type countSigner func(name string, s signer.Renewer) signer.Renewer

// newSigner returns the signer of the configuration, for agent.
func (c *config) newSigner(agent *identity.Agent, env cli.Environment, now func() time.Time, count countSigner) (signer.Signer, error) {
	build := signerBuilder{
		bearer:    count(useBearer, signer.NewBearer(agent)),
		assertion: count(useAssertion, signer.NewAgentAssertion(agent, now).HoldSessions(sessionHold)),
		agent:     agent,
		count:     count,
		onFailure: c.Signer.Default.OnFailure,
		env:       env,
		now:       now,
	}
	rules := signer.Rules{Default: build.signer(c.Signer.Default)}
	for _, r := range c.Signer.Rules {
		rule, err := signer.NewRule(r.match(), build.signer(r.Signer))
		if err != nil {
			return nil, err
		}
		rules.Rules = append(rules.Rules, rule)
	}
	if len(rules.Rules) == 0 {
		return rules.Default, nil
	}
	return rules, nil
}

type signerBuilder struct {
	bearer, assertion signer.Signer
	agent             *identity.Agent
	count             countSigner
	onFailure         string
	env               cli.Environment
	now               func() time.Time
}

func (b signerBuilder) signer(r signerRule) signer.Signer {
	onFailure := r.OnFailure
	if onFailure == "" {
		onFailure = b.onFailure
	}
	var s signer.Signer
	bearer := b.bearer
	switch r.Use {
	case useRefuse:
		return nil
	case useNone:
		return signer.None{}
	case useClient:
		return signer.Client{}
	case useBearer:
		s = b.bearer
	case useAssertion:
		s, bearer = b.assertion, nil
	case useCommand:
		s = b.count(useCommand, signer.NewCommand(r.Command, b.now).WithAccounts(b.agent))
		bearer = s
	case useToken:
		if r.TokenEnv != "" {
			s = b.count(useToken, signer.NewTokenFromEnv(r.TokenEnv, b.env.Lookup).WithAccounts(b.agent))
		} else {
			s = b.count(useToken, signer.NewTokenFromFile(r.TokenFile).WithAccounts(b.agent))
		}
		bearer = s
	default:
		auto := signer.Auto{First: b.assertion, Account: b.bearer, Agent: b.agent}
		if onFailure == "bearer" {
			auto.Fallback = b.bearer
		} else {
			bearer = nil // nothing is done in the name of the log-in
		}
		s = auto
	}
	return signer.Bootstrap{Bearer: bearer, Next: s}
}
