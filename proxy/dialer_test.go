package proxy

import "testing"

func TestConnectTo(t *testing.T) {
	t.Parallel()
	c := UpstreamConfig{ConnectTo: map[string]string{
		"chatgpt.com:443":      "exact:1",
		"*.chatgpt.com:443":    "wild:1",
		"*.ab.chatgpt.com:443": "longer:1",
		"x.ab.chatgpt.com:443": "longest:1",
		"*.chatgpt.com:80":     "other-port:1",
	}}
	if err := c.CheckConnectTo(); err != nil {
		t.Error(err)
	}
	routes := newRoutes(c.ConnectTo)
	for address, want := range map[string]string{
		"chatgpt.com:443":          "exact:1",
		"chatgpt.com:444":          "",
		"a.chatgpt.com:443":        "wild:1",
		"a.chatgpt.com:80":         "other-port:1",
		"a.b.chatgpt.com:443":      "wild:1",
		"y.ab.chatgpt.com:443":     "longer:1",
		"x.ab.chatgpt.com:443":     "longest:1",
		"chatgpt.com.evil.com:443": "",
		"notchatgpt.com:443":       "",
		"no port":                  "",
	} {
		if got, ok := routes.find(address); got != want || ok != (want != "") {
			t.Errorf("connectTo(%q) = %q, %v, want %q", address, got, ok, want)
		}
	}
}

func TestCheckConnectTo(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{
		"chatgpt.com":       "127.0.0.1:1", // no port
		"*.*.com:443":       "127.0.0.1:1",
		"chatgpt.com:0":     "127.0.0.1:1",
		"chatgpt.com:443":   "127.0.0.1",
		"a.chatgpt.com:443": "127.1:443",
		":443":              "127.0.0.1:1",
	} {
		if err := (UpstreamConfig{ConnectTo: map[string]string{from: to}}).CheckConnectTo(); err == nil {
			t.Errorf("%q: %q is taken", from, to)
		}
	}
}

func TestHostPatterns(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "*", "*.", "*.*.com", "a.*.com", ".com", "a..b", "a.", "a b", "a:0", "a:65536", "a:x", "https://a", "127.1", "a/b"} {
		if p, err := ParseHostPattern(s); err == nil {
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
		if got := patterns(t, test.pattern).Match(test.host, test.port); got != test.want {
			t.Errorf("%s matches %s:%s: %v", test.pattern, test.host, test.port, got)
		}
	}
}
