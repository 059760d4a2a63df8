package signer

import (
	"path"
	"strings"
	"testing"
)

// Whatever a program prints: no panic, nothing that is not a header's value, and
// no word of it in the error.
func FuzzParseCommandOutput(f *testing.F) {
	for _, seed := range []string{
		"", "token\n", "a b", "a\nb", "{", `{"authorization":"Bearer x","expires_at":"2026-04-15T12:00:00Z"}`,
		`{"authorization":1}`, `{"authorization":"x\n"}`, "\x00\xff", "eyJ9.eyJleHAiOjF9.x", "a.agentproxy-placeholder",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		const marked = "SEKRET7391"
		auth, _, err := parseCommandOutput(append(out, marked...))
		if err != nil {
			if strings.Contains(err.Error(), marked) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %q", err)
			}
			return
		}
		value := auth.Value.Reveal()
		if value == "" || auth.Keep || auth.Scheme == SchemeAssertion || IsPlaceholder(value) {
			t.Errorf("Authorization = %+v", auth)
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q is no header's value", value)
		}
	})
}

// A pattern without wildcards matches itself and nothing else, paths being
// compared in their canonical form. With wildcards it is only required not to
// panic.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"/a", "/a"}, {"/a/b", "/a//b"}, {"/a", "/%61"}, {"/a.b", "/axb"}, {"/a/", "/a"}, {"/**", "/"}, {"/*?*", "/x"},
		{"/\\Q(", "/\\Q("}, {"/é", "/%C3%A9"}, {"/\xff", "/%ff"}, {"/a", "/x/../a"}, {"/.", "/"}, {"/a\n", "/a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, glob, request string) {
		rule, err := NewRule("", glob, None{})
		if err != nil || glob == "" {
			return
		}
		matched := rule.match(Request{Path: request})
		if strings.ContainsAny(glob, "*?") {
			return
		}
		if !rule.match(Request{Path: glob}) {
			t.Errorf("%q does not match itself", glob)
		}
		if want := canonicalPath(request) == path.Clean(glob); matched != want {
			t.Errorf("%q matches %q: %t, want %t", glob, request, matched, want)
		}
	})
}
