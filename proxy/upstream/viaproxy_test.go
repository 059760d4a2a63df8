package upstream

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

func TestCheckProxy(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxSOCKSField)
	for s, ok := range map[string]bool{
		"http://h:1": true, "https://h": true, "socks5://h:1": true, "socks5h://u:p@h:1": true, "socks5://" + long + ":" + long + "@h": true,
		"socks4://h:1": false, "socks://h:1": false, "ftp://h": false, "http://:3128": false, "http://h/secret": false, "socks5://:secret@h": false,
		"socks5://" + long + "x@h": false, "socks5://u:" + long + "x@h": false,
	} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]Config{
			"URL": {Proxy: u}, "HTTPS_PROXY": {ProxyByURL: httpproxy.Config{HTTPSProxy: s}}, "HTTP_PROXY": {ProxyByURL: httpproxy.Config{HTTPProxy: s}},
		} {
			if err := c.CheckProxy(); (err == nil) != ok || err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "xx")) {
				t.Errorf("%s %.40s: %v", name, s, err)
			}
		}
	}
	if err := (Config{ProxyByURL: httpproxy.Config{HTTPSProxy: "http://user:secret@a b:1"}}).CheckProxy(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("what is no URL: %v", err)
	}
	for _, s := range []string{"proxy.example:3128", "proxy.example", "", "user:secret@h:1"} {
		if err := (Config{ProxyByURL: httpproxy.Config{HTTPSProxy: s}}).CheckProxy(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}
