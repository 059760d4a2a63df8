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
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// answering is an upstream proxy that gives every request the same answer.
func answering(t testing.TB, answer string) string {
	t.Helper()
	return proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = proxytest.RequestHead(bufio.NewReader(c))
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
	stranger := newBackendWith(t, proxytest.ClientCA())
	for _, test := range []struct {
		name, scheme, address string
		user                  *url.Userinfo
		proxyError, message   string
		connectOnly           bool // a plain request gets such an answer as it is
	}{
		{"nobody listens", "http", refusingAddress(t), url.UserPassword("user", secret), "connection_refused", "connection refused", false},
		{"nobody listens at SOCKS", "socks5", refusingAddress(t), url.UserPassword("user", secret), "connection_refused", "connection refused", false},
		{"no such host", "http", "nowhere.invalid:3128", nil, "dns_error", "no such host", false},
		{"certificate of a stranger", "https", stranger, nil, "tls_certificate_error", "not trusted", false},
		{"no TLS", "https", proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }), nil, "tls_protocol_error", "TLS failed", false},
		{"closes", "http", answering(t, ""), nil, "connection_terminated", "closed before an answer", false},
		{"forbids", "http", answering(t, "HTTP/1.1 403 Not For You\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", `"403 Not For You"`, true},
		{"portal", "http", answering(t, "HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", `"302 Found"`, true},
		{"switches", "http", answering(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n"), nil, "destination_unavailable", `"101 Switching Protocols"`, true},
		{"repeats the password", "http", answering(t, "HTTP/1.1 403 No "+secret+"\r\nContent-Length: 0\r\n\r\n"), url.UserPassword("user", secret), "destination_unavailable", `"403 Forbidden"`, true},
		{"repeats the credentials", "http", answering(t, "HTTP/1.1 403 No "+encoded+"\r\nContent-Length: 0\r\n\r\n"), url.UserPassword("user", secret), "destination_unavailable", `"403 Forbidden"`, true},
		{"asks for a password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"a, b\", Digest realm=\"c\"\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) by Basic, Digest, NTLM; put user and password into its URL", false},
		{"takes another password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: basic\r\nContent-Length: 0\r\n\r\n"), url.UserPassword("user", secret), "destination_unavailable", "does not accept the user and password of its URL (407); it takes basic", false},
		{"takes no password", "http", answering(t, "HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate YII=\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) by NTLM, Negotiate, and this program knows Basic alone", false},
		{"names no scheme", "http", answering(t, "HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n"), nil, "destination_unavailable", "(407) and names no scheme", false},
		{"endless header", "http", answering(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 128<<10)), nil, "connection_terminated", "closed before an answer", true},
		{"SOCKS wants a password", "socks5", newSOCKS(t, "", "other", nil), nil, "destination_unavailable", "no acceptable authentication methods", false},
		{"SOCKS takes another password", "socks5h", newSOCKS(t, "", "other", nil), url.UserPassword("user", secret), "destination_unavailable", "username/password authentication failed", false},
		{"SOCKS cannot connect", "socks5", newSOCKS(t, refusingAddress(t), "", nil), nil, "destination_unavailable", "connection refused", false},
		{"another protocol", "socks4", "127.0.0.1:1", url.UserPassword("user", secret), "destination_unavailable", "its scheme is none of", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, "", func(c *Config) {
				c.Upstream.Proxy = &url.URL{Scheme: test.scheme, Host: test.address, User: test.user}
				c.Upstream.Dial = dialUnresolved
			})
			p.serve(t)
			check := func(res *http.Response) {
				t.Helper()
				message := proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_proxy", test.proxyError)
				if !strings.Contains(message, "the upstream proxy "+test.scheme+"://"+test.address+": ") || !strings.Contains(message, test.message) {
					t.Errorf("message %q", message)
				}
				if strings.Contains(message, secret) || strings.Contains(message, encoded) || strings.Contains(message, "user:") {
					t.Errorf("the message has a secret: %q", message)
				}
			}
			check(proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/"))
			check(proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"))
			c := p.dial(t)
			c.Send(t, "CONNECT example.org:22 HTTP/1.1\r\nHost: x\r\n\r\n")
			check(c.Response(t, http.MethodGet))
			if !test.connectOnly {
				check(proxytest.Get(t, p.client(t, proxytest.H1), "http://plain.example/"))
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
	message := proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/"), http.StatusBadGateway, "upstream_proxy", "destination_unavailable")
	if !strings.Contains(message, "write it as http://") || strings.Contains(message, "hush") {
		t.Errorf("message %q", message)
	}
}

// TestUpstreamProxyAnswers opens a tunnel on any 2xx, after any number of 1xx.
func TestUpstreamProxyAnswers(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "reached") })
	for _, answer := range []string{
		"HTTP/1.1 201 Created\r\n\r\n", "HTTP/1.1 299 Fine\r\n\r\n", "HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n",
	} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, "", via(proxytest.NewRawServer(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				if _, err := proxytest.RequestHead(r); err != nil {
					return
				}
				_, _ = io.WriteString(c, answer)
				relayTo(backend.Listener.Addr().String(), c, r)
			})))
			if got := proxytest.ReadAll(t, proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/").Body); got != "reached" {
				t.Errorf("%q", got)
			}
			c := proxytest.Secure(t, p.connect(t, "example.org:443"), &tls.Config{RootCAs: proxytest.Pool(proxytest.ServerCA()), ServerName: "example.org"})
			c.Send(t, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
			if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
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
	return proxytest.NewRawServer(t, func(c net.Conn) {
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
					u.User = url.UserPassword("user", password)
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
					proxytest.EachWay(t, func(t *testing.T, client, server string) {
						backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
							_, _ = io.WriteString(w, r.Header.Get("Authorization"))
						})
						p, asked := through(t, backend.Listener.Addr().String())
						if got := proxytest.ReadAll(t, proxytest.Get(t, p.client(t, client), proxytest.Origin+"/").Body); got != "Bearer "+proxytest.AccessToken {
							t.Errorf("the server saw %q", got)
						}
						want(t, asked, "chatgpt.com:443")
					})
				})
				t.Run("tunnels", func(t *testing.T) {
					t.Parallel()
					p, asked := through(t, proxytest.NewRawServer(t, func(c net.Conn) {
						_, _ = io.WriteString(c, "SSH-2.0-server\n")
						_, _ = io.Copy(c, c)
					}))
					c := p.connect(t, "example.org:22")
					c.Expect(t, "SSH-2.0-server\n")
					c.Send(t, "hello")
					c.Expect(t, "hello")
					closeWriteOf(t, c.Conn)
					c.ExpectEOF(t)
					want(t, asked, "example.org:22")
				})
				t.Run("plain", func(t *testing.T) {
					t.Parallel()
					heads := make(chan []string, 1)
					p, asked := through(t, proxytest.NewRawServer(t, proxytest.PlainRecorder(heads)))
					if res := proxytest.Get(t, p.client(t, proxytest.H1), "http://plain.example/a"); res.StatusCode != http.StatusNoContent {
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
// requests and of SOCKS.
func TestUpstreamProxyHangsAtRequest(t *testing.T) {
	t.Parallel()
	silent := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for _, scheme := range []string{"http", "https", "socks5"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, "", func(c *Config) {
				c.Upstream.Proxy, c.Upstream.DialTimeout = &url.URL{Scheme: scheme, Host: silent}, time.Second
			})
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
				proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_proxy", "connection_timeout")
			})
		})
	}
}

// TestUpstreamProxyIsNoWayIn has a client ask for the address of the upstream
// proxy itself, which is private, after others were served through it.
func TestUpstreamProxyIsNoWayIn(t *testing.T) {
	t.Parallel()
	asked := make(chan []string, 10)
	address := proxytest.NewRawServer(t, proxytest.PlainRecorder(asked))
	p := startProxy(t, "", func(c *Config) {
		c.Upstream.ProxyByURL = httpproxy.Config{HTTPProxy: "http://" + address, NoProxy: "127.0.0.1"}
	})
	if res := proxytest.Get(t, p.client(t, proxytest.H1), "http://plain.example/"); res.StatusCode != http.StatusNoContent {
		t.Fatal(res.Status)
	}
	<-asked
	res := proxytest.Get(t, p.client(t, proxytest.H1), "http://"+address+"/")
	proxytest.WantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	wantConnectRefused(t, p, address, http.StatusForbidden, "private_address", "destination_ip_prohibited")
	if len(asked) > 0 {
		t.Error("the upstream proxy was connected to in a client's name")
	}
}

// TestServerHangs bounds the wait for a server that takes connections and says nothing.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	silent := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	p := startProxy(t, silent, func(c *Config) { c.Upstream.DialTimeout = time.Second })
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
		proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_timeout", "connection_timeout")
	})
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
			config := proxytest.ServerTLS()
			edit(config)
			address := proxytest.NewRawServer(t, func(c net.Conn) {
				secured := tls.Server(c, config)
				_ = secured.Handshake()
				_, _ = io.Copy(io.Discard, secured)
			})
			p := startProxy(t, address)
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
				message := proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_tls", "tls_alert_received")
				if !strings.Contains(message, "tls: "+name) {
					t.Errorf("message %q", message)
				}
			})
		})
	}
}
