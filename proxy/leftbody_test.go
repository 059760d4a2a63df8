package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestBodyLeft has an HTTP/1 client be told that its connection ends with an
// answer for which its body was not read, and then has it end: net/http would
// read that body too late, and panic.
func TestBodyLeft(t *testing.T) {
	t.Parallel()
	p := startPlain(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	const body = " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
	for _, url := range []string{"ftp://plain.example/", "http://localhost:1/"} {
		c := p.dial(t)
		c.Send(t, "POST %s%s", url, body)
		res := c.Response(t, http.MethodPost)
		if !res.Close || res.StatusCode == http.StatusTeapot {
			t.Errorf("%s: %s, close %v", url, res.Status, res.Close)
		}
		proxytest.ReadAll(t, res.Body)
		c.ExpectEOF(t)
	}
	c := p.dial(t)
	for range 2 { // on one connection, for the body was read
		c.Send(t, "POST http://plain.example/read%s", body)
		if res := c.Response(t, http.MethodPost); res.Close || res.StatusCode != http.StatusTeapot {
			t.Errorf("%s, close %v", res.Status, res.Close)
		}
	}
	if log := p.log.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

// TestRestNeverComes has a client send a part of a request that is refused, in chunks and of
// known length, and then wait and say nothing. The connection ends by itself.
func TestRestNeverComes(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{"length": "Content-Length: 10\r\n\r\nhello", "chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		for _, url := range []string{"/", "ftp://plain.example/"} {
			t.Run(name+" "+url, func(t *testing.T) {
				t.Parallel()
				p := startProxy(t, "", func(c *Config) { c.Signer = proxytest.FixedSigner{Err: signer.Errorf(signer.NoTask, "no task yet")} })
				c := p.dial(t)
				if url == "/" {
					c = p.intercepted(t)
				}
				c.Send(t, "POST %s HTTP/1.1\r\nHost: chatgpt.com\r\n%s", url, part)
				res := c.Response(t, http.MethodPost)
				if proxytest.ReadAll(t, res.Body); !res.Close || res.StatusCode < 400 {
					t.Errorf("%s, close %v", res.Status, res.Close)
				}
				c.ExpectEOF(t)
			})
		}
	}
}
