package access

import (
	"strings"
	"testing"
)

func TestLabelPattern(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, label string
		want           bool
	}{
		{"build", "build", true}, {"build", "build-1", false}, {"build", "Build", false}, {"build", "", false},
		{"*", "", true}, {"*", "anything", true}, {"*", "*", true},
		{"build-*", "build-", true}, {"build-*", "build-1", true}, {"build-*", "build", false}, {"build-*", "rebuild-1", false},
		{"*-ci", "a-ci", true}, {"*-ci", "-ci", true}, {"*-ci", "a-ci-b", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a*a", "aba", true},
		{"a*b*c", "abc", true}, {"a*b*c", "aXbYc", true}, {"a*b*c", "acb", false}, {"a*b*b", "ab", false}, {"a*b*b", "abb", true},
		{"**", "x", true}, {"a/*", "a/b/c", true}, {"a.b", "axb", false},
	} {
		p, err := ParseLabelPattern(test.pattern)
		if err != nil || p.String() != test.pattern {
			t.Fatalf("%q: %q, %v", test.pattern, p, err)
		}
		if got := p.Match(test.label); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.label, got)
		}
	}
	for _, pattern := range []string{"", "a b", "ü*", strings.Repeat("a", MaxLabel+1)} {
		if _, err := ParseLabelPattern(pattern); err == nil {
			t.Errorf("%q is taken", pattern)
		}
	}
}
