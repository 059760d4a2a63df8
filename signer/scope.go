package signer

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/identity"
)

// Query is what a [Scope] may know of the request that it decides on.
type Query struct {
	Host, Port string // of the authority, lower case
	Method     string
	Path       string // as it was sent, still percent-encoded, without query
	Upgrade    string // the protocol that the connection is to be upgraded to, "" for none
	// OriginalURL is X-Original-Url, by which the first generation of the protocol
	// says what it wants a biscuit for.
	OriginalURL string
}

// Reason is the reason why a request is out of scope, in one word.
type Reason string

// The reasons. Requests are counted by them.
const (
	InScope         Reason = ""
	ReasonHost      Reason = "host"      // no entry is for the host and port
	ReasonPath      Reason = "path"      // no entry for the host is for the path
	ReasonMethod    Reason = "method"    // no entry for the path is for the method
	ReasonUpgrade   Reason = "upgrade"   // the entry does not let the connection be upgraded
	ReasonSpelling  Reason = "spelling"  // servers may take the path for different ones
	ReasonBootstrap Reason = "bootstrap" // it makes an agent
)

// Decision is the decision of a [Scope] on a request.
type Decision struct {
	// Kind is the credential that the request is to carry. It is [KindUnknown] if the
	// request is refused.
	Kind Kind
	// Reason says why the request is out of scope.
	Reason Reason
	// Path is the decoded path, or the path as it was sent if there is more than one way
	// to decode it.
	Path string
	// Entry is the index of the entry of scope.allow that allows the request, -1
	// if none does.
	Entry int
	// Row is the row of Codex's requests that matched, "" if none did.
	Row string
}

// Allowed reports whether the request is sent. A scope that only warns allows requests that
// are out of scope.
func (d Decision) Allowed() bool { return d.Kind != KindUnknown }

// Origins knows the further hosts that the backend names for an account.
type Origins interface {
	// Named reports whether the backend has named https://host, on the usual port.
	// It may ask the backend.
	Named(ctx context.Context, host string) bool
}

// ScopeConfig is what a [Scope] allows.
type ScopeConfig struct {
	// BaseURL is that of the backend.
	BaseURL string
	// Allow is what is allowed.
	Allow []ScopeEntry
	// Warn allows what is out of scope but would be in it by the entry "all".
	Warn bool
	// Origins is asked about hosts below chatgpt.com. nil: there are none.
	Origins Origins
}

// Scope decides which requests carry a credential, and of which kind. It is safe for
// concurrent use. A nil Scope allows nothing.
type Scope struct {
	config  ScopeConfig
	backend hostPattern // of the base URL
	base    string      // the path of the base URL, "" or such as "/backend-api"
	rows    []codexRow
	entries []scopeEntry
	all     int // index of the entry, -1: there is none
	codex   int
}

// codexRow is a row made ready for use.
type codexRow struct {
	matcher
	name    string // as the table has it
	kind    Kind
	upgrade string
	refuse  bool
}

// scopeEntry is an entry of one's own made ready for use.
type scopeEntry struct {
	matcher
	index   int
	upgrade string
}

// originsBelow is the end of every host that the backend may name.
const originsBelow = ".chatgpt.com"

// NewScope returns the scope of a configuration. An error is about the entry of that
// index, or about none if it is -1.
func NewScope(config ScopeConfig) (s *Scope, index int, err error) {
	s = &Scope{config: config, all: -1, codex: -1}
	u, err := url.Parse(config.BaseURL)
	if err != nil {
		return nil, -1, err
	}
	s.backend = hostPattern{name: strings.ToLower(u.Hostname()), port: cmp.Or(u.Port(), "443"), origin: true}
	base, ok := strictPath("/" + strings.TrimLeft(u.EscapedPath(), "/"))
	if !ok || strings.ContainsAny(base, "*?") {
		return nil, -1, fmt.Errorf("the path of %s is not one that requests can be compared with; write it without what needs encoding", u.Redacted())
	}
	s.base = strings.TrimSuffix(base, "/")
	for _, r := range codexRows() {
		made, err := s.newRow(r)
		if err != nil {
			return nil, -1, err
		}
		s.rows = append(s.rows, made)
	}
	for i, entry := range config.Allow {
		if err := s.add(i, entry); err != nil {
			return nil, i, err
		}
	}
	return s, -1, nil
}

func (s *Scope) newRow(r row) (codexRow, error) {
	m := Match{Host: r.host, Methods: strings.Fields(r.methods), Path: r.path}
	host := s.backend
	if r.host != "" {
		host = hostPattern{name: r.host, port: "443"}
	} else {
		m.Path = s.base + "/" + r.path
	}
	made, err := newMatcher(m, host)
	return codexRow{made, r.methods + " " + r.host + r.path, r.kind, r.upgrade, r.refuse}, err
}

func (s *Scope) add(index int, entry ScopeEntry) error {
	switch entry.Word {
	case WordAll:
		s.all = index
		return nil
	case WordCodex:
		s.codex = index
		return nil
	}
	host := s.backend
	if entry.Host != "" {
		var err error
		if host, err = parseHostPort(entry.Host); err != nil {
			return err
		}
	}
	made, err := newMatcher(entry.Match, host)
	s.entries = append(s.entries, scopeEntry{made, index, entry.Upgrade})
	return err
}

// IsBackend reports whether authority is that of the base URL. It may be without the port
// 443.
func (s *Scope) IsBackend(authority string) bool {
	if s == nil {
		return false
	}
	name := s.backend.name
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return strings.EqualFold(authority, name+":"+s.backend.port) || s.backend.port == "443" && strings.EqualFold(authority, name)
}

// Decide returns the decision on a request. If all else is in scope, it asks Origins about
// the host.
func (s *Scope) Decide(ctx context.Context, q Query) Decision {
	if s == nil {
		return Decision{Reason: ReasonHost, Path: q.Path, Entry: -1}
	}
	path, strict := strictPath(q.Path)
	d := Decision{Path: path, Entry: -1}
	if !strict {
		d.Path = q.Path
	}
	// By these paths, as sent or in their strict form, agents come to be.
	if identity.IsBootstrapPath(q.Path) != identity.BootstrapNone || strings.Contains(strings.ToLower(path)+"/", "/v1/agent/") {
		d.Reason = ReasonBootstrap
		if s.all >= 0 && strict {
			if d.Kind = s.bootstrap(q); d.Allowed() {
				d.Entry, d.Reason = s.all, InScope
			}
		}
		return d
	}
	method := methodBit(q.Method)
	row := s.find(strict, path, method)
	kind, upgrade := KindAccount, ""
	if row != nil && !row.refuse {
		kind, upgrade, d.Row = row.kind, row.upgrade, row.name
		if by := s.byCodex(); by >= 0 && upgradable(upgrade, q.Upgrade) && s.isAt(ctx, &row.matcher, q) {
			d.Kind, d.Entry = kind, by
			return d
		}
	}
	if i := s.entryFor(ctx, q, path, strict, method, upgrade); i >= 0 {
		d.Kind, d.Entry = kind, i
		return d
	}
	byAll := method != 0 && (strict || s.allAlone(q)) && (s.all >= 0 || s.config.Warn) && s.isBackend(ctx, q)
	if byAll {
		d.Kind = kind
	}
	if byAll && s.all >= 0 {
		d.Entry = s.all
	} else {
		d.Reason = s.reason(q, path, strict, method)
	}
	return d
}

// byCodex returns the index of the entry by which the requests of Codex are
// allowed, -1 if they are not.
func (s *Scope) byCodex() int {
	if s.codex >= 0 {
		return s.codex
	}
	return s.all
}

// entryFor returns the index of the entry of one's own that allows a request, -1
// if none does. An entry for a request of Codex's need not name its upgrade.
func (s *Scope) entryFor(ctx context.Context, q Query, path string, strict bool, method methodSet, upgrade string) int {
	if !strict || method == 0 {
		return -1
	}
	for i := range s.entries {
		e := &s.entries[i]
		if e.methods.has(method) && e.matchPath(path) && (upgradable(e.upgrade, q.Upgrade) || upgradable(upgrade, q.Upgrade)) && s.isAt(ctx, &e.matcher, q) {
			return e.index
		}
	}
	return -1
}

// find returns the row of a request, whatever its host: an entry of one's own for
// another host has the same requests carry the same.
func (s *Scope) find(strict bool, path string, method methodSet) *codexRow {
	if !strict {
		return nil
	}
	for i := range s.rows {
		r := &s.rows[i]
		if r.methods.has(method) && r.matchPath(path) || r.refuse && r.matchPathFold(path) {
			return r
		}
	}
	return nil
}

// isAt reports whether a request goes to the host of m.
func (s *Scope) isAt(ctx context.Context, m *matcher, q Query) bool {
	if m.host.origin {
		return s.isBackend(ctx, q)
	}
	return m.host.match(q.Host, q.Port)
}

// isBackend reports whether a request goes to the backend: that of the base URL,
// or another that it has named.
func (s *Scope) isBackend(ctx context.Context, q Query) bool {
	if s.backend.match(q.Host, q.Port) {
		return true
	}
	return s.config.Origins != nil && q.Port == "443" && strings.HasSuffix(q.Host, originsBelow) && s.config.Origins.Named(ctx, q.Host)
}

// allAlone reports whether nothing but "all" is said of a host, so that no
// spelling of a path can get round anything.
func (s *Scope) allAlone(q Query) bool {
	return s.codex < 0 && !slices.ContainsFunc(s.entries, func(e scopeEntry) bool { return e.host.origin || e.host.match(q.Host, q.Port) })
}

// reason says why a request is in no entry's scope. It asks nobody.
func (s *Scope) reason(q Query, path string, strict bool, method methodSet) Reason {
	var atHost, atPath, byMethod bool
	consider := func(m *matcher) {
		if !m.host.match(q.Host, q.Port) {
			return
		}
		atHost = true
		if strict && m.matchPath(path) {
			atPath = true
			byMethod = byMethod || method != 0 && m.methods.has(method)
		}
	}
	if s.codex >= 0 {
		for i := range s.rows {
			if !s.rows[i].refuse {
				consider(&s.rows[i].matcher)
			}
		}
		if row := s.find(strict, path, method); row != nil && row.refuse {
			atPath = false // what comes behind it does not count
		}
	}
	for i := range s.entries {
		consider(&s.entries[i].matcher)
	}
	switch {
	case !atHost:
		return ReasonHost
	case !strict:
		return ReasonSpelling
	case !atPath:
		return ReasonPath
	case !byMethod:
		return ReasonMethod
	}
	return ReasonUpgrade
}

// upgradable reports whether a connection may be upgraded to what is asked for.
func upgradable(to, asked string) bool {
	return asked == "" || to != "" && strings.EqualFold(to, asked)
}

// bootstrap returns what the bootstrap of an agent carries where all is allowed.
// The biscuit is the one thing by which a client could make an agent that
// outlives the proxy, so it takes exactly what Codex sends.
func (s *Scope) bootstrap(q Query) Kind {
	if !s.backend.match(q.Host, q.Port) || q.Upgrade != "" {
		return KindUnknown
	}
	switch identity.IsBootstrapPath(q.Path) {
	case identity.BootstrapBiscuit:
		if q.Method == "GET" && q.Path == s.base+"/authenticate_app_v2" && s.isRegistration(q.OriginalURL) {
			return KindBiscuit
		}
		return KindUnknown
	case identity.BootstrapRegistration:
		return KindClient
	}
	return KindAccount // the agents of the account
}

// isRegistration reports whether a URL is one that agents or tasks are
// registered at.
func (s *Scope) isRegistration(rawURL string) bool {
	rest, ok := strings.CutPrefix(rawURL, strings.TrimRight(s.config.BaseURL, "/"))
	if !ok {
		return false
	}
	path, strict := strictPath(rest)
	if !strict || path != rest {
		return false
	}
	const agents = "/v1/agent/"
	if path == agents+"register" {
		return true
	}
	id, ok := strings.CutPrefix(path, agents)
	if !ok {
		return false
	}
	id, ok = strings.CutSuffix(id, "/task/register")
	return ok && id != "" && !strings.Contains(id, "/")
}
