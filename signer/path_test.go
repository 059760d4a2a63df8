package signer

import (
	"net/url"
	"testing"
)

func TestStrictPath(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"/":              "/",
		"/a/b":           "/a/b",
		"/a//b///":       "/a/b",
		"/a/":            "/a",
		"/%61%2d/b":      "/a-/b",
		"/a%20b":         "/a b",
		"/%C3%A9":        "/é",
		"/%EF%BF%BD":     "/\uFFFD",
		"/a:b@c,d=e$f*g": "/a:b@c,d=e$f*g",
		"/...":           "/...",
		"/.a/a./..a":     "/.a/a./..a",
		"/%22%3C%7C":     `/"<|`,
		"/a%2Eb":         "/a.b",
	} {
		if got, ok := strictPath(sent); !ok || got != want {
			t.Errorf("%s: %q, %t; want %q", sent, got, ok, want)
		}
	}
	for _, sent := range []string{
		"", "*", "a", "//a", "//", "/./a", "/a/..", "/a/.", "/%2e/a", "/a/%2E%2e/b", "/.%2e", "/a%2fb", "/a%2Fb", "/a%5cb", `/a\b`,
		"/a%00", "/a%0a", "/a%7f", "/a%25", "/a%2541", "/a;b", "/a%3bb", "/a#b", "/a%23b", "/a%3fb", "/a%", "/a%4", "/a%zz", "/%u0041",
		"/é", "/a\x80", "/a b", "/a\tb", "/a\x00", `/a"b`, "/a<b", "/a[b", "/a^b", "/a`b", "/a{b", "/a|b",
		"/%C0%AF", "/%C1%81", "/%E0%80%AF", "/%F0%80%80%AF", "/%ED%A0%80", "/%FF", "/%C3", "https://chatgpt.com/a",
	} {
		if got, ok := strictPath(sent); ok {
			t.Errorf("%q is taken for %q", sent, got)
		}
	}
}

func TestStrictPathAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { strictPath("/backend-api/wham/tasks/list") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	s, q := mustScope(t, WordCodex), query("GET", "https://chatgpt.com/backend-api/wham/tasks/list")
	if n := testing.AllocsPerRun(100, func() { s.Decide(t.Context(), q) }); n > 0 {
		t.Errorf("%v allocations for a decision", n)
	}
}

// FuzzStrictPath has no spelling of a path decided upon as another one: what a
// server makes of it by decoding once, or twice, or by resolving dots, is what
// was decided upon.
func FuzzStrictPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/a/b", "//a", "/a//b/", "/%61", "/a%2fb", "/a/../b", "/%2e%2e/a", `/a\..\b`, "/a;b/..", "/%25%32%65", "/é", "/%C0%AE", "/a#b", "/a%00b", "/a?b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		clean, ok := strictPath(sent)
		if !ok {
			return
		}
		encoded := (&url.URL{Path: clean}).EscapedPath()
		if again, ok := strictPath(encoded); !ok || again != clean {
			t.Errorf("%q is taken for %q, which is taken for %q", sent, clean, again)
		}
		u, err := url.ParseRequestURI(sent)
		if err != nil || u.RawQuery != "" {
			t.Fatalf("%q has a strict form, but net/url says %v", sent, err)
		}
		if twice, err := url.PathUnescape(u.Path); err != nil || twice != u.Path {
			t.Errorf("%q is another path when it is decoded twice", sent)
		}
		// Cleaned as net/http, Python's and Node's own ways of serving files clean it.
		if cleaned := (&url.URL{Path: "/"}).JoinPath(u.EscapedPath()).Path; joined(cleaned) != clean {
			t.Errorf("%q is taken for %q, and by others for %q", sent, clean, cleaned)
		}
	})
}

// joined drops doubled and trailing slashes.
func joined(path string) string {
	p, _ := joinSegments(path)
	return p
}
