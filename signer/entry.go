package signer

import (
	"net"
	"regexp"
	"strconv"
	"strings"
)

// The words that are entries of a scope by themselves.
const (
	WordCodex = "codex" // what Codex asks for
	WordAll   = "all"   // whatever is asked of the backend
)

// ScopeEntry is an entry of scope.allow.
type ScopeEntry struct {
	// Word is [WordCodex] or [WordAll], or "". The other fields are then not used.
	Word string
	// Match is what is allowed. The Host may have a port, 443 if it has none. "" is the
	// backend.
	Match
	// Upgrade is the protocol that the connection may be upgraded to.
	Upgrade string
}

// String returns the entry as YAML on one line.
func (e ScopeEntry) String() string {
	if e.Word != "" {
		return e.Word
	}
	var fields []string
	add := func(key, value string) {
		if value != "" {
			fields = append(fields, key+": "+value)
		}
	}
	add("host", quoteYAML(e.Host))
	if len(e.Methods) > 0 {
		add("methods", "["+strings.Join(e.Methods, ", ")+"]")
	}
	add("path", quoteYAML(e.Path))
	add("upgrade", quoteYAML(e.Upgrade))
	return "{" + strings.Join(fields, ", ") + "}"
}

var plainYAML = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._~-]*$`)

// quoteYAML returns s as a YAML scalar, in quotes where it needs them.
func quoteYAML(s string) string {
	if s == "" || plainYAML.MatchString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// Widening returns the entry that would allow the request q, which is out of scope by the
// decision d. It returns false if no entry would.
func (s *Scope) Widening(q Query, d Decision) (ScopeEntry, bool) {
	switch {
	case s == nil:
		return ScopeEntry{}, false
	case d.Reason == ReasonBootstrap:
		return ScopeEntry{Word: WordAll}, s.backend.match(q.Host, q.Port) && q.Path == d.Path && q.Upgrade == ""
	case d.Reason == ReasonSpelling, !isStrict(q.Path):
		return ScopeEntry{Word: WordAll}, s.backend.match(q.Host, q.Port) && s.allAlone(q)
	case !KnownMethod(q.Method):
		return ScopeEntry{}, false
	}
	host := q.Host
	if q.Port != "443" {
		host = net.JoinHostPort(host, q.Port)
	}
	return ScopeEntry{
		Match:   Match{Host: host, Methods: []string{q.Method}, Path: d.Path},
		Upgrade: strings.ToLower(q.Upgrade),
	}, true
}

// AllowYAML returns the lines of a configuration that allow entries, and what is allowed
// now.
func (s *Scope) AllowYAML(entries ...ScopeEntry) string {
	var b strings.Builder
	b.WriteString("scope:\n  allow:\n")
	for _, entry := range append(append([]ScopeEntry(nil), s.config.Allow...), entries...) {
		b.WriteString("    - " + entry.String() + "\n")
	}
	return b.String()
}
