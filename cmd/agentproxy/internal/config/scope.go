package config

import "github.com/agentproxy/agentproxy/signer"

// Scope says which requests are signed.
type Scope struct {
	Allow  []ScopeEntry `yaml:"allow"`
	OnMiss string       `yaml:"on_miss" enum:"refuse,warn"`
}

// The values of scope.on_miss.
const (
	MissRefuse = "refuse"
	MissWarn   = "warn"
)

// ScopeEntry is a word or the requests for a host and path.
type ScopeEntry struct {
	Word    string   `yaml:"-"`
	Host    string   `yaml:"host" doc:"The host, with a port if need be; without it, those of chatgpt.hosts."`
	Methods []string `yaml:"methods" doc:"The methods; without it, all." enum:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS"`
	Path    string   `yaml:"path" doc:"The paths. * and ? match within a segment, ** across segments."`
	Upgrade string   `yaml:"upgrade" doc:"What the connection may be upgraded to." enum:"websocket"`
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (e *ScopeEntry) UnmarshalYAML(unmarshal func(any) error) error {
	*e = ScopeEntry{}
	if unmarshal(&e.Word) == nil {
		return nil
	}
	e.Word = ""
	type fields ScopeEntry
	return unmarshal((*fields)(e))
}

// New returns the scope for a backend. The error is about the entry of that index, or the
// base URL if the index is negative.
func (s Scope) New(baseURL string, origins signer.Origins) (scope *signer.Scope, index int, err error) {
	config := signer.ScopeConfig{BaseURL: baseURL, Warn: s.OnMiss == MissWarn, Origins: origins}
	for _, e := range s.Allow {
		config.Allow = append(config.Allow, signer.ScopeEntry{
			Word:    e.Word,
			Match:   signer.Match{Host: e.Host, Methods: e.Methods, Path: e.Path},
			Upgrade: e.Upgrade,
		})
	}
	return signer.NewScope(config)
}

func (s Scope) check(baseURL string) error {
	var m mistakes
	m.oneOf("scope.on_miss", s.OnMiss, MissRefuse, MissWarn)
	if len(s.Allow) == 0 {
		m.wrong("scope.allow", "nothing would be signed; leave the key out for what Codex asks for")
	}
	for i, e := range s.Allow {
		key := element("scope.allow", i)
		switch {
		case e.Word != "" && e.Word != signer.WordCodex && e.Word != signer.WordAll:
			m.wrong(key, "%q is neither codex, nor all, nor a mapping with host, methods and path", e.Word)
		case e.Word != "":
		case e.Host == "" && e.Path == "":
			m.wrong(key, "it matches every path; give it a host or a path, or write all")
		case e.Upgrade != "" && e.Upgrade != "websocket":
			m.wrong(key, "upgrade: %q is not websocket, which is all that a connection can be upgraded to", e.Upgrade)
		}
	}
	if len(m) > 0 {
		return m.err()
	}
	_, i, err := s.New(baseURL, nil)
	if i < 0 {
		return at("chatgpt.base_url", err)
	}
	m.add(at(element("scope.allow", i), err))
	for i++; i < len(s.Allow); i++ {
		one := Scope{Allow: s.Allow[i : i+1], OnMiss: s.OnMiss}
		if _, index, err := one.New(baseURL, nil); index == 0 {
			m.add(at(element("scope.allow", i), err))
		}
	}
	return m.err()
}
