package proxy

import (
	"crypto/tls"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// countingBackend notes every request that reaches it, and with what.
func countingBackend(t testing.TB) (address string, reached *atomic.Int64) {
	t.Helper()
	reached = new(atomic.Int64)
	backend := proxytest.NewBackend(t, proxytest.H2, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	return backend.Listener.Addr().String(), reached
}

// TestForeignAuthorityHTTP1 tries to have a request inside a tunnel pass for
// one to another host. Nothing may reach any server.
func TestForeignAuthorityHTTP1(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	for _, test := range []struct {
		name, head string
		status     int
	}{
		{"foreign Host", "GET / HTTP/1.1\r\nHost: evil.com", 421},
		{"another intercepted host", "GET / HTTP/1.1\r\nHost: ab.chatgpt.com", 421},
		{"Host with another port", "GET / HTTP/1.1\r\nHost: chatgpt.com:8443", 421},
		{"Host with an empty port", "GET / HTTP/1.1\r\nHost: chatgpt.com:", 421},
		{"trailing dot", "GET / HTTP/1.1\r\nHost: chatgpt.com.", 421},
		{"user name in Host", "GET / HTTP/1.1\r\nHost: chatgpt.com@evil.com", 400},
		{"password in Host", "GET / HTTP/1.1\r\nHost: x:hush-hush@chatgpt.com", 400},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nHost: evil.com", 400},
		{"twice the same Host", "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nHost: chatgpt.com", 400},
		{"a list in Host", "GET / HTTP/1.1\r\nHost: chatgpt.com, evil.com", 400},
		{"a space in Host", "GET / HTTP/1.1\r\nHost: chatgpt.com evil.com", 400},
		{"no Host", "GET / HTTP/1.1", 400},
		{"empty Host", "GET / HTTP/1.1\r\nHost:", 421},
		{"HTTP/1.0 without Host", "GET / HTTP/1.0", 421},
		{"absolute URL of another host", "GET https://evil.com/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"absolute URL, foreign Host", "GET https://evil.com/ HTTP/1.1\r\nHost: evil.com", 421},
		{"absolute URL with another port", "GET https://chatgpt.com:444/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"absolute URL in clear", "GET http://chatgpt.com/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"absolute URL of another scheme", "GET ftp://chatgpt.com/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"absolute URL with a user", "GET https://chatgpt.com@evil.com/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"absolute URL with our name as user", "GET https://evil.com@chatgpt.com/ HTTP/1.1\r\nHost: chatgpt.com", 421},
		{"CONNECT", "CONNECT evil.com:443 HTTP/1.1\r\nHost: evil.com:443", 405},
		{"CONNECT to the same", "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443", 405},
		{"a letter that folds to s", "GET / HTTP/1.1\r\nHost: chatgpt-\u017ftaging.com", 400},
	} {
		c := p.intercepted(t)
		c.Send(t, "%s\r\n\r\n", test.head)
		res := c.Response(t, http.MethodGet)
		if res.StatusCode != test.status {
			t.Errorf("%s: %s, want %d", test.name, res.Status, test.status)
			continue
		}
		if test.status == http.StatusMisdirectedRequest {
			proxytest.WantRefusal(t, res, test.status, "misdirected_request", "http_request_denied")
		}
		c.Close()
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests reached a server", n)
	}
	if log := p.log.String(); strings.Contains(log, "hush-hush") {
		t.Errorf("the log has a client's password:\n%s", log)
	}
}

// TestForeignAuthorityHTTP2 is the same over HTTP/2.
func TestForeignAuthorityHTTP2(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	plain := []string{":method", "GET", ":scheme", "https", ":path", "/"}
	with := func(fields ...string) []string { return append(append([]string(nil), plain...), fields...) }
	for _, test := range []struct {
		name   string
		fields []string
		want   string // one of these
	}{
		{"foreign authority", with(":authority", "evil.com"), "421"},
		{"another intercepted host", with(":authority", "ab.chatgpt.com"), "421"},
		{"another port", with(":authority", "chatgpt.com:8443"), "421"},
		{"trailing dot", with(":authority", "chatgpt.com."), "421"},
		{"user name", with(":authority", "chatgpt.com@evil.com"), "421 400 reset"},
		{"foreign Host besides", with(":authority", proxytest.Host, "host", "evil.com"), "421"},
		{"foreign Host alone", with("host", "evil.com"), "421"},
		{"two authorities", with(":authority", proxytest.Host, ":authority", "evil.com"), "400 reset"},
		{"two Hosts besides", with(":authority", proxytest.Host, "host", proxytest.Host, "host", "evil.com"), "421 400 reset"},
		{"no authority", plain, "421 400 reset"},
		{"a letter that folds to s", with(":authority", "chatgpt-\u017ftaging.com"), "421 400 reset"},
		{"absolute URL as path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "https://evil.com/"}, "421 400 reset"},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "evil.com:443"}, "405"},
		{"CONNECT to the same", []string{":method", "CONNECT", ":authority", "chatgpt.com:443"}, "405"},
	} {
		c := p.h2(t)
		c.request(t, 1, test.fields...)
		if got := c.status(t, 1); !strings.Contains(test.want, got) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		c.Close()
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests reached a server", n)
	}
}

// TestFoldedAuthority opens its tunnel to a host with an s, which a long s
// folds to.
func TestFoldedAuthority(t *testing.T) {
	t.Parallel()
	const folded, staging = "chatgpt-\u017ftaging.com", "chatgpt-staging.com"
	for _, authority := range []string{folded, folded + ":443"} {
		if (hosts.Target{Host: staging, Port: "443"}).Names(authority, "443") {
			t.Errorf("%q is taken for %s", authority, staging)
		}
	}
}

// TestServerName sends a server name that differs from the CONNECT target: the
// certificate is still for the target, and no request is answered.
func TestServerName(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		address, reached := countingBackend(t)
		p := startProxy(t, address)
		tunnel := p.connect(t, proxytest.Host+":443")
		config := &tls.Config{ServerName: "ab.chatgpt.com", InsecureSkipVerify: true}
		if proto == proxytest.H2 {
			config.NextProtos = []string{"h2"}
		}
		c := proxytest.Secure(t, tunnel, config)
		if err := c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].VerifyHostname(proxytest.Host); err != nil {
			t.Error(err)
		}
		status := "421"
		if proto == proxytest.H1 {
			c.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
			proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusMisdirectedRequest, "misdirected_request", "http_request_denied")
		} else {
			raw := newH2Conn(t, c)
			raw.request(t, 1, ":method", "GET", ":scheme", "https", ":path", "/", ":authority", proxytest.Host)
			status = raw.status(t, 1)
		}
		if status != "421" || reached.Load() != 0 {
			t.Errorf("%s, %d requests reached a server", status, reached.Load())
		}
	})
}

// TestOwnAuthority has the spellings that do mean the tunnel's host.
func TestOwnAuthority(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	c := p.intercepted(t)
	heads := []string{
		"GET / HTTP/1.1\r\nHost: chatgpt.com",
		"GET / HTTP/1.1\r\nHost: chatgpt.com:443",
		"GET / HTTP/1.1\r\nHost: ChatGPT.COM",
		"GET https://chatgpt.com/ HTTP/1.1\r\nHost: chatgpt.com",
		"GET https://chatgpt.com:443/ HTTP/1.1\r\nHost: elsewhere", // RFC 9112, 3.2.2: Host is ignored
	}
	for _, head := range heads {
		c.Send(t, "%s\r\n\r\n", head)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Errorf("%q: %s", head, res.Status)
		}
	}
	if n := reached.Load(); n != int64(len(heads)) {
		t.Errorf("%d requests reached the server", n)
	}
}
