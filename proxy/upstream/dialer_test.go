package upstream

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func TestConnectTo(t *testing.T) {
	t.Parallel()
	c := Config{ConnectTo: map[string]string{
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
		if err := (Config{ConnectTo: map[string]string{from: to}}).CheckConnectTo(); err == nil {
			t.Errorf("%q: %q is taken", from, to)
		}
	}
}

// TestRoutesAllocateNothing looks patterns up that were parsed once.
func TestRoutesAllocateNothing(t *testing.T) {
	d := newDialer(Config{ConnectTo: map[string]string{"*.a.example:443": "x:1", "*.b.example:443": "y:1", "c.example:443": "z:1"}}, new(OwnListeners))
	if n := testing.AllocsPerRun(100, func() {
		if to, ok := d.routes.find("x.b.example:443"); !ok || to != "y:1" {
			t.Error(to, ok)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFakeIPs allows made-up addresses where TLS proves whose they are, and says
// elsewhere what they are.
func TestFakeIPs(t *testing.T) {
	t.Parallel()
	d := newDialer(Config{}, new(OwnListeners))
	for _, s := range []string{"198.18.0.1", "198.19.255.255", "::ffff:198.18.0.1", "fc00::1"} {
		address := netip.AddrPortFrom(netip.MustParseAddr(s), 443).String()
		if err := d.proven.Control("tcp", address, nil); err != nil {
			t.Errorf("%s for an intercepted host: %v", s, err)
		}
		err := d.guarded.Control("tcp", address, nil)
		if _, ok := errors.AsType[*PrivateAddressError](err); !ok || !strings.Contains(err.Error(), "VPN or proxy client") {
			t.Errorf("%s for another: %v", s, err)
		}
	}
	for _, s := range []string{"10.0.0.1", "127.0.0.1", "198.17.0.1", "198.20.0.1", "fd00::1", "fc00:4000::1", "2002:c612:1::", "64:ff9b::c612:1"} {
		address := netip.AddrPortFrom(netip.MustParseAddr(s), 443).String()
		if proven, guarded := d.proven.Control("tcp", address, nil), d.guarded.Control("tcp", address, nil); (proven == nil) != (guarded == nil) {
			t.Errorf("%s: %v for an intercepted host, %v for another", s, proven, guarded)
		}
	}
	checked := make(chan string, 1)
	stop := errors.New("checked")
	d.proven.Control = func(string, string, syscall.RawConn) error { checked <- "proven"; return stop }
	d.guarded.Control = func(string, string, syscall.RawConn) error { checked <- "guarded"; return stop }
	ways := newTransports(d)
	for _, test := range []struct{ url, upgrade, want string }{
		{"https://198.18.0.1/", "", "proven"}, {"https://198.18.0.1/", "websocket", "proven"},
		{"http://198.18.0.1/", "", "guarded"}, {"http://198.18.0.1/", "websocket", "guarded"},
	} {
		for major := 1; major <= 2; major++ {
			r := proxytest.NewRequest(t, http.MethodGet, test.url, nil)
			r.ProtoMajor = major
			if test.upgrade != "" {
				r.Header.Set("Upgrade", test.upgrade)
			}
			if _, err := ways.RoundTrip(r); !errors.Is(err, stop) {
				t.Fatal(err)
			}
			if got := <-checked; got != test.want {
				t.Errorf("%s over HTTP/%d is dialled as %s", test.url, major, got)
			}
		}
	}
	if _, err := d.DialTunnel(t.Context(), hosts.Target{Host: "198.18.0.1", Port: "443"}); !errors.Is(err, stop) || <-checked != "guarded" {
		t.Errorf("a tunnel: %v", err)
	}
}
