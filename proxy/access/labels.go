package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// LabelPattern is a session label in which "*" stands for any text, or none.
type LabelPattern struct{ parts []string }

// ParseLabelPattern parses a pattern such as "build-*".
func ParseLabelPattern(s string) (LabelPattern, error) {
	if s == "" {
		return LabelPattern{}, errors.New(`the empty label cannot be named; "*" matches it with all others`)
	}
	if wrong := CheckLabel(s); wrong != "" {
		return LabelPattern{}, fmt.Errorf("label pattern %q %s", s, wrong)
	}
	return LabelPattern{strings.Split(s, "*")}, nil
}

// String returns the pattern as it is written.
func (p LabelPattern) String() string { return strings.Join(p.parts, "*") }

// Match reports whether the pattern covers label.
func (p LabelPattern) Match(label string) bool {
	first, rest := p.parts[0], p.parts[1:]
	if len(rest) == 0 {
		return label == first
	}
	label, ok := strings.CutPrefix(label, first)
	if !ok {
		return false
	}
	last, between := rest[len(rest)-1], rest[:len(rest)-1]
	for _, part := range between {
		if _, label, ok = strings.Cut(label, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(label, last)
}

// LabelPatterns is a list of patterns.
type LabelPatterns []LabelPattern

// Match reports whether any pattern covers label.
func (ps LabelPatterns) Match(label string) bool {
	return slices.ContainsFunc(ps, func(p LabelPattern) bool { return p.Match(label) })
}

// MaxLabel bounds the length of a session label, in bytes. Labels are keys of files and
// logs.
const MaxLabel = 128

// CheckLabel returns what is wrong with a session label, as it continues a sentence that
// names the label. It returns "" for a good one.
func CheckLabel(label string) string {
	if len(label) > MaxLabel {
		return "is longer than 128 bytes; it is a short label for the session"
	}
	if strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "has a character that is not printable ASCII; it is a short label for the session"
	}
	return ""
}
