package signer

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Match is a condition on requests. A field that is left out matches everything.
type Match struct {
	// Host is a name, or "*." and a name for all names below it.
	Host string
	// Methods are some of [Methods]. They are compared byte for byte.
	Methods []string
	// Path is a pattern. "*" and "?" match within a segment, and "**" across segments.
	// Everything else stands for itself, without percent-encoding.
	Path string
}

// matcher is a parsed [Match].
type matcher struct {
	host    hostPattern
	methods methodSet
	path    *glob // nil: all
	folded  *glob // path in lower case
}

func newMatcher(m Match, host hostPattern) (matcher, error) {
	n := matcher{host: host}
	var err error
	if n.methods, err = parseMethods(m.Methods); err != nil || m.Path == "" {
		return n, err
	}
	if n.path, err = newGlob(m.Path); err != nil {
		return n, err
	}
	n.folded, err = newGlob(strings.ToLower(m.Path))
	return n, err
}

// matchPath reports whether the path, in its strict form, matches.
func (m *matcher) matchPath(path string) bool { return m.path == nil || m.path.match(path) }

// matchPathFold is matchPath whatever the case. Some servers ignore the case, and what denies
// must hold there too.
func (m *matcher) matchPathFold(path string) bool {
	return m.path == nil || m.folded.match(strings.ToLower(path))
}

// hostPattern is a host name, or all names below one.
type hostPattern struct {
	name   string // "" matches all, unless below is set
	below  string // ".chatgpt.com" for "*.chatgpt.com"
	port   string // "" matches all
	origin bool   // the backend's own host, on its port, in place of all that
}

// parseHost reads a pattern without a port.
func parseHost(s string) (hostPattern, error) {
	p := hostPattern{name: strings.ToLower(s)}
	name := strings.TrimPrefix(p.name, "*.")
	switch {
	case strings.Contains(name, "*"):
		return p, fmt.Errorf("host pattern %q: only a leading \"*.\" may stand for names below a host", s)
	case name == "" && s != "", strings.ContainsAny(name, ":/ \t"), strings.HasSuffix(name, "."):
		return p, fmt.Errorf("host pattern %q: it must be a name such as chatgpt.com, without a port", s)
	}
	if name != p.name {
		if suffix, ok := CoversPublicSuffix(p.name); ok {
			return p, fmt.Errorf("host pattern %q: %s is a public suffix, below which anybody can have a name; name the hosts", s, suffix)
		}
		p.name, p.below = "", "."+name
	}
	return p, nil
}

// parseHostPort reads a pattern that may have a port. Without one it is 443.
func parseHostPort(s string) (hostPattern, error) {
	host, port := s, "443"
	if h, p, err := net.SplitHostPort(s); err == nil {
		if h == "" {
			return hostPattern{}, fmt.Errorf("host pattern %q: the name is missing, and it would be for every host; name one", s)
		}
		host, port = h, p
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 || p[0] == '0' {
			return hostPattern{}, fmt.Errorf("host pattern %q: port %q is not a number from 1 to 65535", s, p)
		}
	}
	pattern, err := parseHost(host)
	pattern.port = port
	return pattern, err
}

func (p hostPattern) match(host, port string) bool {
	switch {
	case p.port != "" && p.port != port:
		return false
	case p.below != "":
		return len(host) > len(p.below) && strings.HasSuffix(host, p.below)
	}
	return p.name == "" || p.name == host
}

// CoversPublicSuffix reports whether a pattern such as "*.com" matches names that anybody can
// register, and returns the public suffix.
func CoversPublicSuffix(pattern string) (suffix string, ok bool) {
	below, ok := strings.CutPrefix(strings.ToLower(pattern), "*.")
	if !ok {
		return "", false
	}
	if host, _, err := net.SplitHostPort(below); err == nil {
		below = host
	}
	suffix, _ = publicsuffix.PublicSuffix(below)
	return suffix, suffix == below
}
