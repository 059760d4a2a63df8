package main

import (
	"errors"
	"fmt"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/signer"
)

// scopeConfig says which requests are signed.
type scopeConfig struct {
	Allow  []scopeEntry `yaml:"allow"`
	OnMiss string       `yaml:"on_miss"`
}

// The values of scope.on_miss.
const (
	missRefuse = "refuse"
	missWarn   = "warn"
)

// scopeEntry is a word or the requests for a host and path.
type scopeEntry struct {
	Word    string   `yaml:"-"`
	Host    string   `yaml:"host"`
	Methods []string `yaml:"methods"`
	Path    string   `yaml:"path"`
	Upgrade string   `yaml:"upgrade"`
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (e *scopeEntry) UnmarshalYAML(unmarshal func(any) error) error {
	*e = scopeEntry{}
	if unmarshal(&e.Word) == nil {
		return nil
	}
	e.Word = ""
	type fields scopeEntry
	return unmarshal((*fields)(e))
}

func (e scopeEntry) entry() signer.ScopeEntry {
	return signer.ScopeEntry{Word: e.Word, Match: signer.Match{Host: e.Host, Methods: e.Methods, Path: e.Path}, Upgrade: e.Upgrade}
}

func (c *config) validateScope(cli.Environment) (key string, err error) {
	switch c.Scope.OnMiss {
	case missRefuse, missWarn:
	default:
		return "scope.on_miss", fmt.Errorf("%q is neither refuse nor warn", c.Scope.OnMiss)
	}
	if len(c.Scope.Allow) == 0 {
		return "scope.allow", errors.New("nothing would be signed; leave the key out for what Codex asks for")
	}
	for i, e := range c.Scope.Allow {
		at := fmt.Sprintf("scope.allow[%d]", i)
		switch {
		case e.Word != "" && e.Word != signer.WordCodex && e.Word != signer.WordAll:
			return at, fmt.Errorf("%q is neither codex, nor all, nor a mapping with host, methods and path", e.Word)
		case e.Word != "":
		case e.Host == "" && e.Path == "":
			return at, errors.New("it matches every path; give it a host or a path, or write all")
		case e.Upgrade != "" && e.Upgrade != "websocket":
			return at, fmt.Errorf("upgrade: %q is not websocket, which is all that a connection can be upgraded to", e.Upgrade)
		}
	}
	if _, i, err := c.newScope(nil); i >= 0 {
		return fmt.Sprintf("scope.allow[%d]", i), err
	} else if err != nil {
		return "chatgpt.base_url", err
	}
	return "", nil
}

// newScope returns the scope of the configuration. The error is about the entry of
// that index, or the base URL if it is negative.
func (c *config) newScope(origins signer.Origins) (s *signer.Scope, index int, err error) {
	config := signer.ScopeConfig{BaseURL: c.ChatGPT.BaseURL, Warn: c.Scope.OnMiss == missWarn, Origins: origins}
	for _, e := range c.Scope.Allow {
		config.Allow = append(config.Allow, e.entry())
	}
	return signer.NewScope(config)
}
