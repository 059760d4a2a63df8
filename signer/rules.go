package signer

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rule gives the requests it matches a signer of their own.
type Rule struct {
	host   string
	path   *regexp.Regexp
	signer Signer
}

// NewRule returns the rule that has s sign the requests for host and path. An
// empty pattern matches everything. A host is a name, or "*." and a name for
// all names below it. In a path "*" and "?" match within a segment and "**"
// across segments; all else stands for itself, without percent-encoding.
func NewRule(host, glob string, s Signer) (Rule, error) {
	rule := Rule{host: strings.ToLower(host), signer: s}
	switch name := strings.TrimPrefix(rule.host, "*."); {
	case strings.Contains(name, "*"):
		return Rule{}, fmt.Errorf("host pattern %q: only a leading \"*.\" may stand for names below a host", host)
	case name == "" && host != "", strings.ContainsAny(name, ":/ \t"), strings.HasSuffix(name, "."):
		return Rule{}, fmt.Errorf("host pattern %q: it must be a name such as chatgpt.com, without a port", host)
	}
	if glob == "" {
		return rule, nil
	}
	if !strings.HasPrefix(glob, "/") && !strings.HasPrefix(glob, "**") {
		return Rule{}, fmt.Errorf("path pattern %q: must begin with \"/\" or \"**\"", glob)
	}
	if strings.Contains(glob, "%") {
		return Rule{}, fmt.Errorf("path pattern %q: write characters as themselves, without percent-encoding", glob)
	}
	if strings.ContainsRune(glob, utf8.RuneError) {
		return Rule{}, fmt.Errorf("path pattern %q: not UTF-8", glob)
	}
	// Paths are compared in this form, so no other could ever match.
	rule.path = compileGlob(path.Clean(glob))
	return rule, nil
}

// Rules is a signer that asks the first rule that matches a request, and
// Default where none does.
type Rules struct {
	Rules   []Rule
	Default Signer
}

var _ Renewer = Rules{}

// Sign implements [Signer].
func (s Rules) Sign(ctx context.Context, r Request) (*Authorization, error) {
	return s.signerFor(r).Sign(ctx, r)
}

// Renew implements [Renewer].
func (s Rules) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	return renew(ctx, s.signerFor(r), r, refused)
}

func (s Rules) signerFor(r Request) Signer {
	for _, rule := range s.Rules {
		if rule.match(r) {
			return rule.signer
		}
	}
	return s.Default
}

func (r Rule) match(req Request) bool {
	if r.host != "" && !matchHost(r.host, req.Host) {
		return false
	}
	return r.path == nil || r.path.MatchString(canonicalPath(req.Path))
}

func matchHost(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(below) && strings.HasSuffix(host, below)
	}
	return pattern == host
}

// canonicalPath is the path that a server is likely to see behind the escapes,
// dots and doubled slashes of p. Rules match on it, so that another spelling of
// a path does not get round its rule.
func canonicalPath(p string) string { return path.Clean("/" + unescape(p)) }

// unescape decodes %XX. Unlike url.PathUnescape it leaves a % that begins none,
// and decodes the others all the same.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(n)
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func compileGlob(glob string) *regexp.Regexp {
	var expr strings.Builder
	expr.WriteString(`\A`)
	for i := 0; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "**"):
			expr.WriteString(`.*`)
			i++
		case glob[i] == '*':
			expr.WriteString(`[^/]*`)
		case glob[i] == '?':
			expr.WriteString(`[^/]`)
		default:
			expr.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		}
	}
	expr.WriteString(`\z`)
	return regexp.MustCompile(`(?s)` + expr.String())
}
