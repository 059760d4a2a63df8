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
