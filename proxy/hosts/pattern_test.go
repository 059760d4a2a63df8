package hosts

import (
	"testing"
)

func TestHostPatterns(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "*", "*.", "*.*.com", "a.*.com", ".com", "a..b", "a.", "a b", "a:0", "a:65536", "a:x", "https://a", "127.1", "a/b"} {
		if p, err := ParsePattern(s); err == nil {
			t.Errorf("%q is taken for %v", s, p)
		}
	}
	for _, test := range []struct {
		pattern, host, port string
		want                bool
	}{
		{"ChatGPT.com", "chatgpt.com", "443", true},
		{"chatgpt.com", "chatgpt.com", "80", true},
		{"chatgpt.com", "a.chatgpt.com", "443", false},
		{"chatgpt.com:443", "chatgpt.com", "80", false},
		{"*.chatgpt.com", "chatgpt.com", "443", false},
		{"*.chatgpt.com", "a.chatgpt.com", "443", true},
		{"*.chatgpt.com", "a.b.chatgpt.com", "443", true},
		{"*.chatgpt.com", "achatgpt.com", "443", false},
		{"*.chatgpt.com:443", "a.chatgpt.com", "80", false},
		{"[2001:db8::1]:443", "2001:db8::1", "443", true},
		{"192.0.2.1", "192.0.2.1", "1", true},
	} {
		p, err := ParsePattern(test.pattern)
		if got := p.Match(test.host, test.port); err != nil || got != test.want {
			t.Errorf("%s matches %s:%s: %v, %v", test.pattern, test.host, test.port, got, err)
		}
	}
}
