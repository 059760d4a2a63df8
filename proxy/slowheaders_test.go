package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestSlowHandshakes has clients that begin something and never finish it. Their
// connections end; a stream that is silent for longer does not.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
			_, _ = io.WriteString(w, "at last")
		case <-r.Context().Done():
		}
	})
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Limits = access.Limits{HandshakeTimeout: 10 * time.Second} // enough for a busy machine
	})
	quiet := map[string]*http.Response{}
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		quiet[proto] = proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
	}
	begun := map[string]*proxytest.RawConn{"nothing": p.dial(t), "CONNECT and no TLS": p.connect(t, proxytest.Host+":443")}
	for name, sent := range map[string]string{
		"half a CONNECT":      "CONNECT chatgpt.com:443 HTTP/1.1\r\nHo",
		"half a plain header": "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX-A:",
	} {
		begun[name] = p.dial(t)
		begun[name].Send(t, "%s", sent)
	}
	begun["half a ClientHello"] = p.connect(t, proxytest.Host+":443")
	begun["half a ClientHello"].Send(t, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	begun["TLS and no request"] = p.intercepted(t)
	begun["half a header"] = p.intercepted(t)
	begun["half a header"].Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nX-")
	for name, c := range begun {
		if _, err := io.Copy(io.Discard, c.R); errors.Is(err, errTimeout(err)) {
			t.Errorf("%s: the connection does not end", name)
		}
	}
	close(next)
	for proto, res := range quiet {
		if body := proxytest.ReadAll(t, res.Body); body != "at last" {
			t.Errorf("%s: %q", proto, body)
		}
	}
}

// errTimeout returns err if it is that the test's own patience has ended.
func errTimeout(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return err
	}
	return errors.New("another error")
}

// TestHeaderLimits has headers of too many bytes and too many fields.
func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X%d:\r\n", i)
		}
		return b.String()
	}
	for name, header := range map[string]string{
		"many fields":         many(2000),
		"many of one name":    strings.Repeat("X:\r\n", 2000),
		"fields without end":  many(100_000),
		"a value without end": "X: " + strings.Repeat("v", 1<<20) + "\r\n",
		"a name without end":  strings.Repeat("n", 1<<20) + ": v\r\n",
	} {
		for where, head := range map[string]string{
			"intercepted": "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n",
			"CONNECT":     "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n",
			"plain":       "GET http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\n",
		} {
			c := p.dial(t)
			if where == "intercepted" {
				c = p.intercepted(t)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(c.Conn, head+header+"\r\n")
			}()
			if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s, %s: %s", name, where, res.Status)
			}
			c.Close()
			<-sent
		}
	}
	c := p.h2(t)
	c.request(t, 1, with(strings.Split(strings.Repeat("x,,", 2000), ",")[:4000]...)...)
	if got := c.status(t, 1); got != "431" {
		t.Errorf("many fields, h2: %s", got)
	}
	c.request(t, 3, ask...)
	if got := c.status(t, 3); got != "200" {
		t.Errorf("afterwards: %s", got)
	}
	if reached.Load() != 1 {
		t.Errorf("%d requests reached the server", reached.Load())
	}
}
