package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func TestCheckRequestLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, uri string
		status      int // 0 where it is well-formed
	}{
		{"GET", "/", 0},
		{"OPTIONS", "*", 0},
		{"GET", "*", http.StatusBadRequest},
		{"POST", "*", http.StatusBadRequest},
		{"GET", "/*", 0},
		{"GET", "/a b", http.StatusBadRequest},
		{"GET", "/a\x7f", http.StatusBadRequest},
		{"G T", "/", http.StatusBadRequest},
		{"", "/", http.StatusBadRequest},
	} {
		status := 0
		if refused := checks.RequestLine(test.method, test.uri); refused != nil {
			status = refused.Status
		}
		if status != test.status {
			t.Errorf("%q %q: %d, want %d", test.method, test.uri, status, test.status)
		}
	}
}

func TestShortened(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ s, want string }{
		{"", ""}, {"abcd", "abcd"}, {"abcde", "abcd…"}, {"abcü", "abc…"}, {"\x80\x80\x80\x80\x80", "…"},
	} {
		if got := checks.Shortened(test.s, 4); got != test.want {
			t.Errorf("%q: %q", test.s, got)
		}
	}
}

// TestWordsAreCut has clients choose a method, a path, a host, a scheme and fields of
// 100 KB each, let in and not. No line of the log or the audit log, no refusal and no
// outcome grows by them.
func TestWordsAreCut(t *testing.T) {
	t.Parallel()
	const most = 8 << 10
	long := strings.Repeat("x", 100<<10)
	decisions := new(auditLog)
	outcomes := make(chan Outcome, 100)
	address, _ := countingBackend(t)
	p := startProxy(t, address, func(c *Config) {
		c.Audit = decisions
		c.Observe = func(o Outcome) { outcomes <- o }
	})
	for _, request := range []string{
		"CONNECT " + long + ":443 HTTP/1.1\r\nHost: x\r\n",
		"GET http://" + long + "/ HTTP/1.1\r\nHost: x\r\n",
		"GET " + long + "://a.example/ HTTP/1.1\r\nHost: x\r\n",
		"GET http://chatgpt.com/" + long + " HTTP/1.1\r\nHost: x\r\n",
		long + " http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\n",
		"GET http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + proxytest.BasicAuth(long, "x") + "\r\n",
	} {
		c := p.dial(t)
		c.Send(t, "%s\r\n", request)
		res := c.Response(t, http.MethodGet)
		if body := proxytest.ReadAll(t, res.Body); res.StatusCode < 400 || len(body) > most {
			t.Errorf("%.40s: %s, %d bytes", request, res.Status, len(body))
		}
		c.Close()
	}
	for _, request := range []string{
		long + " / HTTP/1.1\r\nHost: chatgpt.com\r\n",
		"GET /" + long + " HTTP/1.1\r\nHost: chatgpt.com\r\n",
		"GET /" + long + " HTTP/1.1\r\nHost: " + long + "\r\n",
		"GET /backend-api/x HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: " + long + "\r\n",
		"GET / HTTP/1.1\r\nHost: chatgpt.com\r\nOrigin: https://" + long + "\r\n",
	} {
		c := p.intercepted(t)
		c.Send(t, "%s\r\n", request)
		body := proxytest.ReadAll(t, c.Response(t, http.MethodGet).Body)
		if len(body) > most {
			t.Errorf("%.40s: %d bytes", request, len(body))
		}
		c.Close()
	}
	p.cutNow()
	for lines := bufio.NewScanner(strings.NewReader(p.log.String())); lines.Scan(); {
		if len(lines.Text()) > most {
			t.Errorf("a line of %d bytes: %.200s", len(lines.Text()), lines.Text())
		}
	}
	for _, d := range decisions.take() {
		if n := len(fmt.Sprint(d)); n > most || !utf8.ValidString(d.Path) {
			t.Errorf("a decision of %d bytes: %.200s", n, fmt.Sprint(d))
		}
	}
	close(outcomes)
	for o := range outcomes {
		n := len(o.Client) + len(o.Host) + len(o.Reason) + len(o.Failure)
		if o.OutOfScope != nil {
			n += len(o.OutOfScope.Method) + len(o.OutOfScope.Path) + len(o.OutOfScope.Upgrade)
		}
		if n > most {
			t.Errorf("an outcome of %d bytes: %.200s", n, o.Reason)
		}
	}
}

// TestHeadersAreNotQuoted sends fields that make the proxy refuse, and has servers answer
// with fields that are none. No reason has their words.
func TestHeadersAreNotQuoted(t *testing.T) {
	t.Parallel()
	const secret = "words-of-a-field"
	server := proxytest.NewRawServer(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		fmt.Fprint(c, map[string]string{
			"/status": "HTTP/1.1 " + secret + "\r\n\r\n",
			"/field":  "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n",
			"/name":   "HTTP/1.1 200 OK\r\n" + secret + " : x\r\n\r\n",
			"/length": "HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n",
			"/coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
			"/other":  secret + "\r\n\r\n",
		}[r.URL.Path])
	})
	p := startProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["a.example:80"] = server })
	ask := func(c *proxytest.RawConn, format string, args ...any) {
		t.Helper()
		defer c.Close()
		c.Send(t, format, args...)
		res := c.Response(t, http.MethodGet)
		if body := string(proxytest.ReadAll(t, res.Body)); strings.Contains(body, secret) {
			t.Errorf("%s: %s", res.Status, body)
		}
	}
	for _, path := range []string{"/status", "/field", "/name", "/length", "/coding", "/other"} {
		ask(p.dial(t), "GET http://a.example%s HTTP/1.1\r\nHost: a.example\r\n\r\n", path)
	}
	for _, field := range []string{"Origin: https://" + secret, "Sec-Fetch-Site: " + secret, "Connection: Upgrade\r\nUpgrade: " + secret + "\x80"} {
		ask(p.intercepted(t), "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n%s\r\n\r\n", field)
	}
	p.cutNow()
	if strings.Contains(p.log.String(), secret) {
		t.Errorf("the log:\n%s", p.log.String())
	}
}
