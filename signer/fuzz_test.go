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
		if value == "" || auth.PassThrough || auth.Scheme == SchemeAssertion || IsPlaceholder(value) {
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
		{"/a/*b*/**", "/a/xbby/c"}, {"**/a*/b", "/x/ac/b"}, {"/*a*b/c", "/xaab/c"}, {"/a**", "/ab/c"}, {"/***", "/x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, request string) {
		g, err := newGlob(pattern)
		if err != nil {
			return
		}
		clean, ok := strictPath(request)
		if !ok {
			return
		}
		matched := g.match(clean)
		if strings.ContainsAny(pattern, "*?") {
			if want := compileGlob(path.Clean(pattern), false).MatchString(clean); matched != want {
				t.Errorf("%q matches %q: %t, want %t", pattern, clean, matched, want)
			}
			return
		}
		if want := clean == path.Clean(pattern); matched != want {
			t.Errorf("%q matches %q: %t, want %t", pattern, request, matched, want)
		}
	})
}
