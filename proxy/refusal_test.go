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
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestProxyAuthentication refuses clients without the token, and serves them on
// the same connection once they have shown it.
func TestProxyAuthentication(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address, func(c *Config) { c.Clients.Token = "right" })
	basic := func(s string) string {
		return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s)) + "\r\n"
	}
	for _, authority := range []string{proxytest.Host + ":443", "example.org:443"} {
		c := p.dial(t)
		for _, test := range []struct{ header, code string }{
			{"", "proxy_auth_required"},
			{basic("user:wrong"), "proxy_auth_required"},
			{basic("right:"), "proxy_auth_required"},
			{basic("right"), "proxy_auth_required"},
			{basic("user:right2"), "proxy_auth_required"},
			{"Proxy-Authorization: Bearer right\r\n", "proxy_auth_required"},
			{"Proxy-Authorization: Basic !\r\n", "proxy_auth_required"},
			{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user:right")) + "\r\n", "proxy_auth_required"},
			{basic("user:wrong") + basic("user:right"), "proxy_auth_required"},
			{basic("white space:right"), "bad_label"},
			{basic(strings.Repeat("l", access.MaxLabel+1) + ":right"), "bad_label"},
		} {
			c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", authority, test.header)
			res := c.Response(t, http.MethodGet)
			proxytest.WantRefusal(t, res, http.StatusProxyAuthRequired, test.code, "http_request_denied")
			if res.Header.Get("Proxy-Authenticate") == "" {
				t.Error("no Proxy-Authenticate")
			}
			c = p.next(t, c, res)
		}
		if authority != proxytest.Host+":443" {
			continue
		}
		c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n%s\r\n", authority, basic("user:right"))
		if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		secured := proxytest.Secure(t, c, &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host})
		secured.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
		if res := secured.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d requests reached the server", n)
	}
}

// TestRefusedRequests has what is refused at the proxy's own port.
func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	var signed atomic.Int64
	p := startProxy(t, address, func(c *Config) {
		c.OtherHosts = OtherHosts{Refuse: true, Only: patterns(t, "example.org:8000", "*.allowed.example")}
		c.Signer = proxytest.SignerFunc(func(signer.Request) (*signer.Authorization, error) {
			signed.Add(1)
			return proxytest.Bearer(), nil
		})
	})
	for _, test := range []struct {
		line   string
		status int
		code   string
	}{
		{"CONNECT refused.example:443", 403, "host_refused"},
		{"CONNECT example.org:443", 403, "host_refused"},
		{"CONNECT allowed.example:443", 403, "host_refused"},
		{"CONNECT chatgpt.com:80", 403, "host_refused"},
		{"CONNECT ab.chatgpt.com:8443", 403, "host_refused"},
		{"CONNECT notchatgpt.com:443", 403, "host_refused"},
		{"CONNECT chatgpt.com.evil.com:443", 403, "host_refused"},
		{"CONNECT chatgpt.com", 400, "bad_target"},
		{"CONNECT chatgpt.com:0", 400, "bad_target"},
		{"CONNECT chatgpt.com:65536", 400, "bad_target"},
		{"CONNECT chatgpt.com:0443", 400, "bad_target"},
		{"CONNECT chatgpt.com:+443", 400, ""},
		{"CONNECT chatgpt.com:https", 400, ""},
		{"CONNECT chatgpt.com.:443", 400, "bad_target"},
		{"CONNECT chatgpt..com:443", 400, "bad_target"},
		{"CONNECT :443", 400, "bad_target"},
		{"CONNECT [chatgpt.com]:443", 400, ""},
		{"CONNECT [127.0.0.1]:443", 400, ""},
		{"CONNECT user@chatgpt.com:443", 400, "bad_target"},
		{"CONNECT user:hush-hush@chatgpt.com:443", 400, "bad_target"},
		{"CONNECT [fe80::1%25eth0]:443", 400, ""},
		{"CONNECT 0177.0.0.1:443", 400, "bad_target"},
		{"CONNECT 2130706433:443", 400, "bad_target"},
		{"CONNECT 0x7f000001:443", 400, "bad_target"},
		{"CONNECT 127.1:443", 400, "bad_target"},
		{"CONNECT 127.0.0.1.:443", 400, "bad_target"},
		{"CONNECT \u24d2hatgpt.com:443", 400, ""},
		{"CONNECT chatgpt%2ecom:443", 400, ""},
		{"CONNECT http://chatgpt.com:443", 400, ""},
		{"CONNECT /path", 400, "bad_target"},
		{"GET http://chatgpt.com/", 403, "plain_http_refused"},
		{"GET http://CHATGPT.com:443/", 403, "plain_http_refused"},
		{"GET http://ab.chatgpt.com:8080/", 403, "plain_http_refused"},
		{"GET http://refused.example/", 403, "host_refused"},
		{"GET http://example.org/", 403, "host_refused"},
		{"GET https://chatgpt.com/", 400, "https_without_connect"},
		{"GET https://example.org:8000/", 400, "https_without_connect"},
		{"GET ftp://example.org:8000/", 400, "bad_scheme"},
		{"GET http://user:hush-hush@example.org:8000/", 400, "bad_target"},
		{"GET http://chatgpt.com./", 400, "bad_target"},
		{"GET http://example.org:/", 400, "bad_target"},
		{"GET http://127.1/", 400, "bad_target"},
		{"GET http:///path", 400, "bad_target"},
	} {
		t.Run(test.line, func(t *testing.T) {
			c := p.dial(t)
			c.Send(t, "%s HTTP/1.1\r\nHost: example.org\r\n\r\n", test.line)
			res := c.Response(t, http.MethodGet)
			if test.code == "" { // net/http itself does not read it, or reads it otherwise
				if res.StatusCode != test.status {
					t.Errorf("%s, want %d", res.Status, test.status)
				}
				return
			}
			proxyError := "http_request_denied"
			if test.status == http.StatusBadRequest {
				proxyError = "http_request_error"
			}
			proxytest.WantRefusal(t, res, test.status, test.code, proxyError)
		})
	}
	if reached.Load()+signed.Load() != 0 {
		t.Errorf("%d requests were signed, %d reached a server", signed.Load(), reached.Load())
	}
	p.logged(t, `"refused":"host_refused"`, `"refused":"plain_http_refused"`)
	if log := p.log.String(); strings.Contains(log, "hush-hush") {
		t.Errorf("the log has a client's password:\n%s", log)
	}
}

// TestUnsigned has a signer that cannot sign: the request goes nowhere, and the
// answer says why.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		err  error
		code string
	}{
		{"with a code", signer.Errorf(signer.NoLogin, "nobody is logged in; run codex login"), "no_login"},
		{"wrapped", fmt.Errorf("rule 1: %w", signer.Errorf(signer.NoTask, "no task yet")), "no_task"},
		{"without one", errors.New("broken"), "signing_failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				address, reached := countingBackend(t)
				p := startProxy(t, address, func(c *Config) { c.Signer = proxytest.FixedSigner{Err: test.err} })
				r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", io.MultiReader(strings.NewReader("body")))
				r.Header.Set("Authorization", "Bearer the-client's-own")
				res := proxytest.Do(t, p.client(t, proto), r)
				message := proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, test.code, "proxy_configuration_error")
				if !strings.Contains(message, test.err.Error()) {
					t.Errorf("message %q", message)
				}
				if reached.Load() != 0 {
					t.Error("the request reached the server")
				}
			})
		})
	}
}

// TestUnreachable has the ways in which a server is not reached or does not
// answer, for intercepted requests and, where they can happen, tunnels.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	stranger := newBackendWith(t, proxytest.ClientCA())
	for _, test := range []struct {
		name, to         string
		code, proxyError string
		tunnel           bool
	}{
		{"refused", refusingAddress(t), "upstream_refused", "connection_refused", true},
		{"no such host", "nowhere.invalid:443", "dns_not_found", "dns_error", true},
		{"name server fails", "broken.invalid:443", "dns_failed", "dns_error", true},
		{"certificate of a stranger", stranger, "upstream_certificate", "tls_certificate_error", false},
		{"no TLS", proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n"); _, _ = io.Copy(io.Discard, c) }), "upstream_tls", "tls_protocol_error", false},
		{"closed before TLS", proxytest.NewRawServer(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }), "upstream_closed", "connection_terminated", false},
		{"closed before the answer", proxytest.NewRawTLSServer(t, func(c *tls.Conn) { _, _ = proxytest.RequestHead(bufio.NewReader(c)) }), "upstream_closed", "connection_terminated", false},
		{"no HTTP", proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
			_, _ = proxytest.RequestHead(bufio.NewReader(c))
			_, _ = io.WriteString(c, "nonsense\r\n\r\n")
		}), "upstream_failed", "destination_unavailable", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, test.to, func(c *Config) {
				c.Upstream.ConnectTo["example.org:443"] = test.to
				c.Upstream.Dial = dialUnresolved
			})
			p.serve(t)
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
				proxytest.WantRefusal(t, res, http.StatusBadGateway, test.code, test.proxyError)
			})
			if test.tunnel {
				c := p.dial(t)
				c.Send(t, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\nsent together")
				res := c.Response(t, http.MethodGet)
				proxytest.WantRefusal(t, res, http.StatusBadGateway, test.code, test.proxyError)
			}
		})
	}
}

// TestUnsignedUpload refuses a request whose body has not come yet, and whose
// sender waits for the answer.
func TestUnsignedUpload(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		p := startProxy(t, "", func(c *Config) {
			c.Signer = proxytest.FixedSigner{Err: signer.Errorf(signer.NoLogin, "nobody is logged in")}
		})
		body, w := io.Pipe()
		defer w.Close()
		res := proxytest.Do(t, p.client(t, proto), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body))
		proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "no_login", "proxy_configuration_error")
	})
}
