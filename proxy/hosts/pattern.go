// Package hosts reads what names a host: the target that a client asks for, the
// patterns of the configuration and port ranges. All of them are read strictly, because
// a spelling that two programs read differently may lead past a check.
package hosts

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Pattern is a host name, or "*." and a name for all names below it, with an optional
// port. Without a port it matches every port.
type Pattern struct {
	suffix string // ".chatgpt.com" for "*.chatgpt.com"
	name   string
	port   string
}

// ParsePattern parses a pattern such as "chatgpt.com", "*.chatgpt.com" or
// "github.com:22".
func ParsePattern(s string) (Pattern, error) {
	var p Pattern
	host := strings.ToLower(s)
	if h, port, err := net.SplitHostPort(host); err == nil {
		if err := checkPort(port); err != nil {
			return p, fmt.Errorf("host pattern %q: %w", s, err)
		}
		host, p.port = h, port
	}
	if below, ok := strings.CutPrefix(host, "*."); ok {
		p.suffix, host = "."+below, below
	} else {
		p.name = host
	}
	if err := checkHost(host); err != nil {
		return Pattern{}, fmt.Errorf("host pattern %q: %w; a pattern is a name such as \"example.com\", or \"*.example.com\" for all names below it", s, err)
	}
	return p, nil
}

// Match reports whether the pattern covers host and port.
func (p Pattern) Match(host, port string) bool {
	return (p.port == "" || p.port == port) && p.matchHost(host)
}

// matchHost reports whether the pattern covers host on any port.
func (p Pattern) matchHost(host string) bool {
	if p.suffix != "" {
		return len(host) > len(p.suffix) && strings.HasSuffix(host, p.suffix)
	}
	return p.name == host
}

// HasPort reports whether the pattern is for one port alone.
func (p Pattern) HasPort() bool { return p.port != "" }

// Domain returns the name of the pattern, without "*." and port.
func (p Pattern) Domain() string { return p.name + strings.TrimPrefix(p.suffix, ".") }

// String returns the pattern as it is written.
func (p Pattern) String() string {
	host := p.name
	if p.suffix != "" {
		host = "*" + p.suffix
	}
	if p.port != "" {
		return net.JoinHostPort(host, p.port)
	}
	return host
}

// Patterns is a list of patterns.
type Patterns []Pattern

// Match reports whether any pattern covers host and port.
func (ps Patterns) Match(host, port string) bool {
	_, ok := ps.Find(host, port)
	return ok
}

// MatchHost reports whether any pattern covers host on any port.
func (ps Patterns) MatchHost(host string) bool {
	return slices.ContainsFunc(ps, func(p Pattern) bool { return p.matchHost(host) })
}

// Find returns the first pattern that covers host and port.
func (ps Patterns) Find(host, port string) (Pattern, bool) {
	for _, p := range ps {
		if p.Match(host, port) {
			return p, true
		}
	}
	return Pattern{}, false
}

// NamePort reports whether any pattern with a port of its own covers host and port.
func (ps Patterns) NamePort(host, port string) bool {
	return slices.ContainsFunc(ps, func(p Pattern) bool { return p.port != "" && p.Match(host, port) })
}

// checkPort returns an error unless s is a port number in its usual form.
func checkPort(s string) error {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 || s[0] == '0' {
		return fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return nil
}

// Cover reports whether the patterns match everything that p matches.
func (ps Patterns) Cover(p Pattern) bool {
	host := p.name
	if p.suffix != "" {
		host = "any" + p.suffix
	}
	return slices.ContainsFunc(ps, func(q Pattern) bool {
		return (q.port == "" || q.port == p.port) && q.Match(host, q.port) && (p.suffix == "" || q.suffix != "")
	})
}
