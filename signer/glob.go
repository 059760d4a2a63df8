package signer

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// glob is a pattern of paths in the form of [strictPath]. "*" and "?" match
// within a segment and "**" across segments; all else stands for itself.
type glob struct {
	pattern string         // without the "**" that it ends with
	open    bool           // it ended with "**": pattern must match the beginning
	literal bool           // pattern has no wildcard
	expr    *regexp.Regexp // nil unless there is a "**" elsewhere
}

// newGlob returns the glob of a pattern. It is an error if the pattern could never
// match.
func newGlob(pattern string) (*glob, error) {
	if !strings.HasPrefix(pattern, "/") && !strings.HasPrefix(pattern, "**") {
		return nil, fmt.Errorf("path pattern %q: must begin with \"/\" or \"**\"", pattern)
	}
	if strings.Contains(pattern, "%") {
		return nil, fmt.Errorf("path pattern %q: write characters as themselves, without percent-encoding", pattern)
	}
	if strings.ContainsRune(pattern, utf8.RuneError) {
		return nil, fmt.Errorf("path pattern %q: not UTF-8", pattern)
	}
	if i := strings.IndexFunc(pattern, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(`\;#`, r) }); i >= 0 {
		return nil, fmt.Errorf("path pattern %q: no path that has %q in it matches a pattern", pattern, pattern[i])
	}
	g := &glob{pattern: path.Clean(pattern)}
	if before, ok := strings.CutSuffix(g.pattern, "**"); ok && !strings.HasSuffix(before, "*") {
		g.pattern, g.open = before, true
	}
	if strings.Contains(g.pattern, "**") {
		g.expr = compileGlob(g.pattern, g.open)
	}
	g.literal = !strings.ContainsAny(g.pattern, "*?")
	return g, nil
}

// match reports whether the glob matches a path.
func (g *glob) match(p string) bool {
	switch {
	case g.expr != nil:
		return g.expr.MatchString(p)
	case g.literal && g.open:
		return strings.HasPrefix(p, g.pattern)
	case g.literal:
		return p == g.pattern
	}
	// star is where the last "*" is in the pattern, tried how much of p it has
	// taken. Trying the last one alone is enough: it can take whatever an earlier
	// one could.
	pattern, star, tried := g.pattern, -1, 0
	i, j := 0, 0 // in pattern and p
	for {
		switch {
		case i == len(pattern) && (g.open || j == len(p)):
			return true
		case i < len(pattern) && pattern[i] == '*':
			star, tried = i, j
			i++
			continue
		case i < len(pattern) && j < len(p) && pattern[i] == '?' && p[j] != '/':
			_, width := utf8.DecodeRuneInString(p[j:])
			i, j = i+1, j+width
			continue
		case i < len(pattern) && j < len(p) && pattern[i] == p[j]:
			i, j = i+1, j+1
			continue
		}
		if star < 0 || tried == len(p) || p[tried] == '/' {
			return false
		}
		tried++
		i, j = star+1, tried
	}
}

// compileGlob returns the expression of a pattern with "**" inside of it.
func compileGlob(pattern string, open bool) *regexp.Regexp {
	var expr strings.Builder
	expr.WriteString(`\A`)
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "**"):
			expr.WriteString(`.*`)
			i++
		case pattern[i] == '*':
			expr.WriteString(`[^/]*`)
		case pattern[i] == '?':
			expr.WriteString(`[^/]`)
		default:
			expr.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	if !open {
		expr.WriteString(`\z`)
	}
	return regexp.MustCompile(`(?s)` + expr.String())
}
