package proxy

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http/httpproxy"

	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// closedPort returns an address that nobody listens at.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answering is an upstream proxy that gives every request the same answer.
func answering(t testing.TB, answer string) string {
	t.Helper()
	return newRawServer(t, func(c net.Conn) {
		_, _ = requestHead(bufio.NewReader(c))
		_, _ = io.WriteString(c, answer)
	})
}

// TestUpstreamProxyFails names the upstream proxy and what went wrong there, for
// intercepted requests over both versions, tunnels and plain requests, and keeps
// what its URL holds.
func TestUpstreamProxyFails(t *testing.T) {
	t.Parallel()
	const secret = "hush-hush"
	encoded := base64.StdEncoding.EncodeToString([]byte("user:" + secret))
	stranger := newBackendWith(t, clientCA)
	for _, test := range []struct {
		name, scheme, address string
		user                  *url.Userinfo
		proxyError, message   string
		connectOnly           bool // a plain request gets such an answer as it is
	}{
		{"nobody listens", "http", closedPort(t), userPassword("user", secret), "connection_refused", "connection refused", false},
		{"nobody listens at SOCKS", "socks5", closedPort(t), userPassword("user", secret), "connection_refused", "connection refused", false},
		{"no such host", "http", "nowhere.invalid:3128", nil, "dns_error", "no such host", false},
		{"certificate of a stranger", "https", stranger, nil, "tls_certificate_error", "not trusted", false},
		{"no TLS", "https", newRawServer(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }), nil, "tls_protocol_error", "TLS failed", false},
		{"closes", "http", answering(t, ""), nil, "connection_terminated", "closed before an answer", false},
		{"forbids", "http", answering(t, "HTTP/1.1 403 Not For You\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", `"403 Not For You"`, true},
		{"portal", "http", answering(t, "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", `"302 Found"`, true},
		{"switches", "http", answering(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n"), nil, "destination_unavailable", `"101 Switching Protocols"`, true},
		{"repeats the password", "http", answering(t, "HTTP/1.1 403 No "+secret+"\r\nContent-Length: 0\r\n\r\n"), userPassword("user", secret), "destination_unavailable", `"403 Forbidden"`, true},
		{"repeats the credentials", "http", answering(t, "HTTP/1.1 403 No "+encoded+"\r\nContent-Length: 0\r\n\r\n"), userPassword("user", secret), "destination_unavailable", `"403 Forbidden"`, true},
		{"asks for a password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"a, b\", Digest realm=\"c\"\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) by Basic, Digest, NTLM; put user and password into its URL", false},
		{"takes another password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: basic\r\nContent-Length: 0\r\n\r\n"), userPassword("user", secret), "destination_unavailable", "does not accept the user and password of its URL (407); it takes basic", false},
		{"takes no password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate YII=\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) by NTLM, Negotiate, and this program knows Basic alone", false},
		{"names no scheme", "http", answering(t, "HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) and names no scheme", false},
		{"endless header", "http", answering(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxConnectHeader)), nil, "connection_terminated", "closed before an answer", true},
		{"SOCKS wants a password", "socks5", newSOCKS(t, "", "other", nil), nil, "destination_unavailable", "no acceptable authentication methods", false},
		{"SOCKS takes another password", "socks5h", newSOCKS(t, "", "other", nil), userPassword("user", secret), "destination_unavailable", "username/password authentication failed", false},
		{"SOCKS cannot connect", "socks5", newSOCKS(t, closedPort(t), "", nil), nil, "destination_unavailable", "connection refused", false},
		{"another protocol", "socks4", "127.0.0.1:1", userPassword("user", secret), "destination_unavailable", "its scheme is none of", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, "", func(c *Config) {
				c.Upstream.Proxy = &url.URL{Scheme: test.scheme, Host: test.address, User: test.user}
			})
			p.current().upstream.trusted.Resolver = fakeResolver()
			p.serve(t)
			check := func(res *http.Response) {
				t.Helper()
				message := wantRefusal(t, res, http.StatusBadGateway, "upstream_proxy", test.proxyError)
				if !strings.Contains(message, "the upstream proxy "+test.scheme+"://"+test.address+": ") || !strings.Contains(message, test.message) {
					t.Errorf("message %q", message)
				}
				if strings.Contains(message, secret) || strings.Contains(message, encoded) || strings.Contains(message, "user:") {
					t.Errorf("the message has a secret: %q", message)
				}
			}
			check(get(t, p.client(t, h1), origin+"/"))
			check(get(t, p.client(t, h2), origin+"/"))
			c := p.dial(t)
			c.send(t, "CONNECT example.org:22 HTTP/1.1\r\nHost: x\r\n\r\n")
			check(c.response(t, http.MethodGet))
			if !test.connectOnly {
				check(get(t, p.client(t, h1), "http://plain.example/"))
			}
			if log := p.log.String(); strings.Contains(log, secret) || strings.Contains(log, encoded) {
				t.Errorf("the log has a secret:\n%s", log)
			}
		})
	}
}

// TestUpstreamProxyVariable keeps the password of a variable that is no URL.
func TestUpstreamProxyVariable(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "", func(c *Config) {
		c.Upstream.ProxyByURL = httpproxy.Config{HTTPSProxy: "http://user:hush-hush@a b:1"}
	})
	message := wantRefusal(t, get(t, p.client(t, h1), origin+"/"), http.StatusBadGateway, "upstream_proxy", "destination_unavailable")
	if !strings.Contains(message, "write it as http://") || strings.Contains(message, "hush") {
		t.Errorf("message %q", message)
	}
}

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
		for name, c := range map[string]UpstreamConfig{
			"URL": {Proxy: u}, "HTTPS_PROXY": {ProxyByURL: httpproxy.Config{HTTPSProxy: s}}, "HTTP_PROXY": {ProxyByURL: httpproxy.Config{HTTPProxy: s}},
		} {
			if err := c.CheckProxy(); (err == nil) != ok || err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "xx")) {
				t.Errorf("%s %.40s: %v", name, s, err)
			}
		}
	}
	if err := (UpstreamConfig{ProxyByURL: httpproxy.Config{HTTPSProxy: "http://user:secret@a b:1"}}).CheckProxy(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("what is no URL: %v", err)
	}
	for _, s := range []string{"proxy.example:3128", "proxy.example", "", "user:secret@h:1"} {
		if err := (UpstreamConfig{ProxyByURL: httpproxy.Config{HTTPSProxy: s}}).CheckProxy(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestUpstreamProxyAnswers opens a tunnel on any 2xx, after any number of 1xx.
func TestUpstreamProxyAnswers(t *testing.T) {
	t.Parallel()
	backend := newBackend(t, h1, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "reached") })
	for _, answer := range []string{
		"HTTP/1.1 201 Created\r\n\r\n", "HTTP/1.1 299 Fine\r\n\r\n", "HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, "", via(newRawServer(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				if _, err := requestHead(r); err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				relayTo(backend.Listener.Addr().String(), c, r)
			})))
			if got := readAll(t, get(t, p.client(t, h1), origin+"/").Body); got != "reached" {
				t.Errorf("%q", got)
			}
			c := secure(t, p.connect(t, "example.org:443"), &tls.Config{RootCAs: pool(serverCA), ServerName: "example.org"})
			c.send(t, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
			if res := c.response(t, http.MethodGet); res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
		})
	}
}

// relayTo carries bytes between a client, of which r has read ahead, and the
// server at address.
func relayTo(address string, c net.Conn, r io.Reader) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, r)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, server)
	_ = c.(*net.TCPConn).CloseWrite()
}

// newSOCKS starts a SOCKS5 proxy (RFC 1928) that connects all to address, and
// wants the password if there is one. It says what it was asked for.
func newSOCKS(t testing.TB, address, password string, asked chan<- string) string {
	t.Helper()
	return newRawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		field := func(prefix int) string { // of which the last byte of prefix is the length
			head := make([]byte, prefix)
			if _, err := io.ReadFull(r, head); err != nil {
				return ""
			}
			b := make([]byte, head[prefix-1])
			_, _ = io.ReadFull(r, b)
			return string(b)
		}
		methods, method := field(2), byte(0)
		if password != "" {
			method = 2
		}
		if !strings.Contains(methods, string(rune(method))) {
			_, _ = c.Write([]byte{5, 0xff})
			return
		}
		_, _ = c.Write([]byte{5, method})
		user := ""
		if password != "" {
			user = field(2)
			if field(1) != password {
				_, _ = c.Write([]byte{1, 1})
				return
			}
			_, _ = c.Write([]byte{1, 0})
		}
		name := field(5) // version, command, reserved, address type 3, length
		port := make([]byte, 2)
		if _, err := io.ReadFull(r, port); err != nil {
			return
		}
		if asked != nil {
			asked <- fmt.Sprintf("%s@%s:%d", user, name, int(port[0])<<8|int(port[1]))
		}
		if server, err := net.Dial("tcp", address); err != nil {
			_, _ = c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return
		} else {
			server.Close()
		}
		_, _ = c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
		relayTo(address, c, r)
	})
}

// TestSOCKS reaches servers through a SOCKS5 proxy, which resolves the names.
func TestSOCKS(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"socks5", "socks5h"} {
		for _, password := range []string{"", "p:@%word"} {
			through := func(t *testing.T, to string) (*testProxy, chan string) {
				asked := make(chan string, 10)
				u := &url.URL{Scheme: scheme, Host: newSOCKS(t, to, password, asked)}
				if password != "" {
					u.User = userPassword("user", password)
				}
				return startProxy(t, "", func(c *Config) { c.Upstream.Proxy = u }), asked
			}
			want := func(t *testing.T, asked chan string, address string) {
				t.Helper()
				if password != "" {
					address = "user@" + address
				} else {
					address = "@" + address
				}
				if got := <-asked; got != address {
					t.Errorf("asked for %s, want %s", got, address)
				}
			}
			t.Run(scheme+" "+password, func(t *testing.T) {
				t.Parallel()
				t.Run("requests", func(t *testing.T) {
					t.Parallel()
					eachWay(t, func(t *testing.T, client, server string) {
						backend := newBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
							_, _ = io.WriteString(w, r.Header.Get("Authorization"))
						})
						p, asked := through(t, backend.Listener.Addr().String())
						if got := readAll(t, get(t, p.client(t, client), origin+"/").Body); got != "Bearer "+accessToken {
							t.Errorf("the server saw %q", got)
						}
						want(t, asked, "chatgpt.com:443")
					})
				})
				t.Run("tunnels", func(t *testing.T) {
					t.Parallel()
					p, asked := through(t, newRawServer(t, func(c net.Conn) {
						_, _ = io.WriteString(c, "SSH-2.0-server\n")
						_, _ = io.Copy(c, c)
					}))
					c := p.connect(t, "example.org:22")
					c.expect(t, "SSH-2.0-server\n")
					c.send(t, "hello")
					c.expect(t, "hello")
					closeWriteOf(t, c.Conn)
					c.expectEOF(t)
					want(t, asked, "example.org:22")
				})
				t.Run("plain", func(t *testing.T) {
					t.Parallel()
					heads := make(chan []string, 1)
					p, asked := through(t, newRawServer(t, plainRecorder(heads)))
					if res := get(t, p.client(t, h1), "http://plain.example/a"); res.StatusCode != http.StatusNoContent {
						t.Error(res.Status)
					}
					if head := <-heads; head[0] != "GET /a HTTP/1.1" {
						t.Errorf("the server was asked: %q", head)
					}
					want(t, asked, "plain.example:80")
				})
			})
		}
	}
}

// TestUpstreamProxyHangsAtRequest bounds the wait of intercepted and plain
// requests and of SOCKS. It takes dialTimeout.
func TestUpstreamProxyHangsAtRequest(t *testing.T) {
	t.Parallel()
	silent := newRawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, "", func(c *Config) { c.Upstream.Proxy = &url.URL{Scheme: scheme, Host: silent} })
			eachProto(t, func(t *testing.T, proto string) {
				res := get(t, p.client(t, proto), origin+"/")
				wantRefusal(t, res, http.StatusBadGateway, "upstream_proxy", "connection_timeout")
			})
		})
	}
}

// TestUpstreamProxyIsNoWayIn has a client ask for the address of the upstream
// proxy itself, which is private, after others were served through it.
func TestUpstreamProxyIsNoWayIn(t *testing.T) {
	t.Parallel()
	asked := make(chan []string, 10)
	address := newRawServer(t, plainRecorder(asked))
	p := startProxy(t, "", func(c *Config) {
		c.Upstream.ProxyByURL = httpproxy.Config{HTTPProxy: "http://" + address, NoProxy: "127.0.0.1"}
	})
	if res := get(t, p.client(t, h1), "http://plain.example/"); res.StatusCode != http.StatusNoContent {
		t.Fatal(res.Status)
	}
	<-asked
	res := get(t, p.client(t, h1), "http://"+address+"/")
	wantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	wantConnectRefused(t, p, address, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	if len(asked) > 0 {
		t.Error("the upstream proxy was connected to in a client's name")
	}
}

// TestTLSAlerts has servers that refuse the handshake, or the client after it.
func TestTLSAlerts(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*tls.Config){
		"protocol version not supported": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 },
		"certificate required":           func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
		"handshake failure":              func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert; c.MaxVersion = tls.VersionTLS12 },
		"internal error": func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
		},
		"no application protocol": func(c *tls.Config) { c.NextProtos = []string{"none of yours"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := serverTLS()
			edit(config)
			address := newRawServer(t, func(c net.Conn) {
				secured := tls.Server(c, config)
				_ = secured.Handshake()
				_, _ = io.Copy(io.Discard, secured)
			})
			p := startProxy(t, address)
			eachProto(t, func(t *testing.T, proto string) {
				res := get(t, p.client(t, proto), origin+"/")
				message := wantRefusal(t, res, http.StatusBadGateway, "upstream_tls", "tls_alert_received")
				if !strings.Contains(message, "tls: "+name) {
					t.Errorf("message %q", message)
				}
			})
		})
	}
}

// TestRoutesAllocateNothing looks patterns up that were parsed once.
func TestRoutesAllocateNothing(t *testing.T) {
	d := newDialer(UpstreamConfig{ConnectTo: map[string]string{"*.a.example:443": "x:1", "*.b.example:443": "y:1", "c.example:443": "z:1"}}, new(ownListeners))
	if n := testing.AllocsPerRun(100, func() {
		if to, ok := d.routes.find("x.b.example:443"); !ok || to != "y:1" {
			t.Error(to, ok)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOwnAddresses knows the addresses of this machine, if the list of interfaces
// cannot be had too.
func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	hidden := func() ([]net.Addr, error) { return nil, errors.New("operation not permitted") }
	for _, s := range ownAddresses(t) {
		addr := netip.MustParseAddr(s)
		if !isOwnAddress(addr, net.InterfaceAddrs) {
			t.Errorf("%s is not known to be this machine's", addr)
		}
	}
	if !isOwnAddress(netip.MustParseAddr("127.0.0.1"), hidden) {
		t.Error("127.0.0.1 is not known to be this machine's by what it sends from")
	}
	for name, interfaces := range map[string]func() ([]net.Addr, error){"listed": net.InterfaceAddrs, "hidden": hidden} {
		if isOwnAddress(netip.MustParseAddr("8.8.8.8"), interfaces) {
			t.Errorf("%s: 8.8.8.8 is taken for this machine's", name)
		}
	}
}

// TestOwnAddressRefused refuses public addresses of this machine, unless they are
// allowed.
func TestOwnAddressRefused(t *testing.T) {
	t.Parallel()
	interfaces := func() ([]net.Addr, error) {
		return []net.Addr{
			&net.IPNet{IP: net.ParseIP("8.8.4.4"), Mask: net.CIDRMask(24, 32)},
			&net.IPNet{IP: net.ParseIP("2606:4700::1"), Mask: net.CIDRMask(64, 128)},
		}, nil
	}
	for _, allow := range []bool{false, true} {
		config := UpstreamConfig{}
		if allow {
			config.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("8.8.4.4/32"), netip.MustParsePrefix("2606:4700::/64")}
		}
		d := newDialer(config, new(ownListeners))
		d.interfaces = interfaces
		for address, own := range map[string]bool{
			"8.8.4.4:443": true, "[::ffff:8.8.4.4]:443": true, "[2606:4700::1]:80": true, "8.8.4.5:443": false, "[2606:4700::2]:443": false,
		} {
			for _, by := range []net.Dialer{d.guarded, d.proven} {
				err := by.Control("tcp", address, nil)
				if want := own && !allow; (err != nil) != want || want && !strings.Contains(err.Error(), "is an address of this machine") {
					t.Errorf("%s, allowed: %v: %v", address, allow, err)
				}
			}
		}
	}
}

// TestFakeIPs allows made-up addresses where TLS proves whose they are, and says
// elsewhere what they are.
func TestFakeIPs(t *testing.T) {
	t.Parallel()
	d := newDialer(UpstreamConfig{}, new(ownListeners))
	for _, s := range []string{"198.18.0.1", "198.19.255.255", "::ffff:198.18.0.1", "fc00::1"} {
		address := netip.AddrPortFrom(netip.MustParseAddr(s), 443).String()
		if err := d.proven.Control("tcp", address, nil); err != nil {
			t.Errorf("%s for an intercepted host: %v", s, err)
		}
		err := d.guarded.Control("tcp", address, nil)
		if _, ok := errIsPrivate(err); !ok || !strings.Contains(err.Error(), "VPN or proxy client") {
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
			r := newRequest(t, http.MethodGet, test.url, nil)
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
	if _, err := d.dialTunnel(t.Context(), hosts.Target{Host: "198.18.0.1", Port: "443"}); !errors.Is(err, stop) || <-checked != "guarded" {
		t.Errorf("a tunnel: %v", err)
	}
	p := startProxy(t, "")
	if message := wantConnectRefused(t, p, "198.18.0.1:443", http.StatusForbidden, "private_address", "destination_ip_prohibited"); !strings.Contains(message, "198.18.0.1 is usually a fake IP") {
		t.Errorf("message %q", message)
	}
	res := get(t, p.client(t, h1), "http://198.18.0.1/")
	wantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")
}
