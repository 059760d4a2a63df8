package proxy

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/idna"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// wantConnectRefused sends a CONNECT that must be refused, and returns the
// message.
func wantConnectRefused(t *testing.T, p *testProxy, authority string, status int, code, proxyError string) string {
	t.Helper()
	c := p.dial(t)
	defer c.Close()
	c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", authority)
	return proxytest.WantRefusal(t, c.Response(t, http.MethodGet), status, code, proxyError)
}

// TestOwnListeners refuses every way back to the proxy itself and to the admin
// port, although all private addresses are allowed and a name is mapped to it.
func TestOwnListeners(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			admin, err := net.Listen("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			reached := make(chan struct{}, 100)
			go func() {
				for {
					c, err := admin.Accept()
					if err != nil {
						return
					}
					c.Close()
					reached <- struct{}{}
				}
			}()
			defer admin.Close()
			adminPort := admin.Addr().(*net.TCPAddr).AddrPort().Port()
			adminAddr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), adminPort).String()

			p := newProxy(t, "", func(c *Config) {
				c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
				c.Upstream.ConnectTo["mapped.example:443"] = adminAddr
			})
			p.NeverDial(admin.Addr())
			p.serve(t)
			_, port, _ := net.SplitHostPort(adminAddr)
			_, own, _ := net.SplitHostPort(p.addr)
			authorities := []string{
				"127.0.0.1:" + port, "localhost:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "mapped.example:443",
				"127.0.0.1:" + own, "localhost:" + own, "[::ffff:127.0.0.1]:" + own, "0.0.0.0:" + own, "[64:ff9b::7f00:1]:" + own,
			}
			if listen != "127.0.0.1:0" {
				for _, addr := range proxytest.OwnAddresses(t) {
					authorities = append(authorities, net.JoinHostPort(addr, port))
				}
			}
			for _, authority := range authorities {
				wantConnectRefused(t, p, authority, http.StatusForbidden, "own_listener", "proxy_loop_detected")
			}
			res := proxytest.Get(t, p.client(t, proxytest.H1), "http://127.0.0.1:"+port+"/")
			proxytest.WantRefusal(t, res, http.StatusForbidden, "own_listener", "proxy_loop_detected")
			res = proxytest.Get(t, p.client(t, proxytest.H1), "http://"+p.addr+"/")
			proxytest.WantRefusal(t, res, http.StatusForbidden, "own_listener", "proxy_loop_detected")
			if len(reached) > 0 {
				t.Error("the admin port was reached")
			}
		})
	}
}

// TestOwnListenerAsUpstreamProxy has the proxy told to reach servers through
// itself, as an inherited HTTPS_PROXY may do.
func TestOwnListenerAsUpstreamProxy(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	config := p.current().Config
	config.Upstream.Proxy = &url.URL{Scheme: "http", Host: p.addr}
	p.Reconfigure(config)
	wantConnectRefused(t, p, "example.org:443", http.StatusForbidden, "own_listener", "proxy_loop_detected")
	proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"), http.StatusForbidden, "own_listener", "proxy_loop_detected")
}

// TestPrivateAddressesThroughProxy refuses addresses that an upstream proxy on
// this machine would reach.
func TestPrivateAddressesThroughProxy(t *testing.T) {
	t.Parallel()
	asked := make(chan []string, 10)
	p := startProxy(t, "", via(newUpstreamProxy(t, "127.0.0.1:1", asked)))
	for _, authority := range []string{"127.0.0.1:443", "[::1]:443", "10.0.0.1:443", "[::ffff:169.254.169.254]:80"} {
		wantConnectRefused(t, p, authority, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	}
	res := proxytest.Get(t, p.client(t, proxytest.H1), "http://169.254.169.254/latest/meta-data/")
	proxytest.WantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	if len(asked) > 0 {
		t.Error("the upstream proxy was asked")
	}
}

// TestPorts refuses the ports that are not listed, for tunnels and plain HTTP.
func TestPorts(t *testing.T) {
	t.Parallel()
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	for _, test := range []struct {
		name    string
		other   OtherHosts
		allowed []string
		refused []string
	}{
		{"default", OtherHosts{}, []string{"a.example:443", "a.example:80"}, []string{"a.example:22", "a.example:8443", "a.example:25"}},
		{
			"listed", OtherHosts{Ports: hosts.PortRanges{{First: 22, Last: 22}, {First: 8000, Last: 8999}}},
			[]string{"a.example:22", "a.example:8000", "a.example:8999"},
			[]string{"a.example:443", "a.example:7999", "a.example:9000"},
		},
		{
			"host with a port", OtherHosts{Refuse: true, Only: patterns(t, "git.example:22", "*.b.example:9418", "a.example")},
			[]string{"git.example:22", "x.b.example:9418", "a.example:443"},
			[]string{"a.example:22"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, "", func(c *Config) {
				c.OtherHosts = test.other
				for _, authority := range test.allowed {
					c.Upstream.ConnectTo[authority] = echo
				}
			})
			for _, authority := range test.allowed {
				c := p.connect(t, authority)
				c.Send(t, "x")
				c.Expect(t, "x")
			}
			for _, authority := range test.refused {
				message := wantConnectRefused(t, p, authority, http.StatusForbidden, "port_refused", "http_request_denied")
				if !strings.Contains(message, "other_ports") || !strings.Contains(message, authority) {
					t.Errorf("message %q", message)
				}
				res := proxytest.Get(t, p.client(t, proxytest.H1), "http://"+authority+"/")
				proxytest.WantRefusal(t, res, http.StatusForbidden, "port_refused", "http_request_denied")
			}
		})
	}
}

// TestLookalikes refuses internationalised names that are drawn like an
// intercepted host, and no others.
func TestLookalikes(t *testing.T) {
	t.Parallel()
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	p := startProxy(t, "", func(c *Config) {
		c.Upstream.ConnectTo["*.example:443"] = echo
		c.Upstream.ConnectTo["*.de:443"] = echo
		c.Upstream.ConnectTo["*.xn--p1ai:443"] = echo
	})
	for _, name := range []string{
		"ch\u0430tgpt.com",                               // Cyrillic a
		"\u0441hatgpt.com",                               // Cyrillic es
		"chatg\u0440t.com",                               // Cyrillic er
		"\u0441\u04bb\u0430tg\u0440t.\u0441\u043em",      // all that there are
		"chatgp\u03c4.com",                               // Greek tau
		"ch\u03b1tgpt.com",                               // Greek alpha
		"\uff43\uff48\uff41\uff54\uff47\uff50\uff54.com", // fullwidth
		"ch\u00e0tgpt.com",                               // a with grave
		"cha\u0323tgpt.com",                              // a with a dot below, as two
		"chat\u200bgpt.com",                              // a space without width
		"chat\u00adgpt.com",                              // a soft hyphen
		"ch\U0001d41atgpt.com",                           // a bold a
		"ab.ch\u0430tgpt.com",                            // below it
		"chatgpt\u2010staging.com",                       // another hyphen
		"ch\u0430tgpt-staging.com",
	} {
		ascii, err := idna.Punycode.ToASCII(name)
		if err != nil || !strings.Contains(ascii, "xn--") {
			t.Fatalf("%q is %q, %v", name, ascii, err)
		}
		message := wantConnectRefused(t, p, ascii+":443", http.StatusForbidden, "lookalike_host", "http_request_denied")
		if !strings.Contains(message, "chatgpt") {
			t.Errorf("message %q", message)
		}
		wantConnectRefused(t, p, strings.ToUpper(ascii)+":443", http.StatusForbidden, "lookalike_host", "http_request_denied")
		proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proxytest.H1), "http://"+ascii+"/"), http.StatusForbidden, "lookalike_host", "http_request_denied")
	}
	for _, ascii := range []string{
		"xn--bcher-kva.example", "chatgpt.xn--bcher-kva.de", "xn--80a1acny.xn--p1ai", "xn--.example", "xn--a.example",
	} {
		c := p.connect(t, ascii+":443")
		c.Send(t, "x")
		c.Expect(t, "x")
	}
}

// TestOddHosts has hosts that one program reads as another than the next.
func TestOddHosts(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	for _, authority := range []string{
		"user@chatgpt.com:443", "user:pass@chatgpt.com:443", "chatgpt.com@evil.example:443",
		"[fe80::1%eth0]:443", "[::1%lo]:443",
		"0177.0.0.1:443", "127.0.0.01:443", "0x7f.0.0.1:443", "0x7f000001:443", "017700000001:443",
		"2130706433:443", "127.1:443", "127.0.1:443", "1.2.3.4.5:443", "256.0.0.1:443",
		"chatgpt.com.:443", "127.0.0.1.:443", "localhost.:443", ".chatgpt.com:443", "chatgpt..com:443",
		"[0:0:0:0:0:0:0:1]:443", "[::0001]:443", "[0::1]:443", "[::ffff:7f00:1]:443", "[2001:DB8:0::1]:443", "[::127.0.0.1]:443",
		"chatgpt.com\u3002evil.example:443", "chatgpt\uff0ecom:443", "ch\u0430tgpt.com:443",
		"chatgpt.com:443:443", "chatgpt.com:", ":443", "chatgpt.com", "chatgpt.com:0x1bb", "chatgpt.com:00443",
		"chatgpt.com/:443", "chatgpt.com?:443", "chatgpt.com#:443", "chatgpt.com\\:443", "chatgpt.com%00:443", "-:443@x:1",
	} {
		c := p.dial(t)
		c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", authority)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", authority, res.Status)
		}
		c.Close()
	}
}

// TestFakeIPRefused says what a made-up address is.
func TestFakeIPRefused(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "")
	if message := wantConnectRefused(t, p, "198.18.0.1:443", http.StatusForbidden, "private_address", "destination_ip_prohibited"); !strings.Contains(message, "198.18.0.1 is usually a fake IP") {
		t.Errorf("message %q", message)
	}
	res := proxytest.Get(t, p.client(t, proxytest.H1), "http://198.18.0.1/")
	proxytest.WantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")
}
