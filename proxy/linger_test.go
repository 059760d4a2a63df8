package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestEarlyAnswerArrives has a client of HTTP/1.1 that sends all of its body before it
// reads anything. It gets what the proxy or the server has answered meanwhile.
func TestEarlyAnswerArrives(t *testing.T) {
	t.Parallel()
	server := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		if _, err := proxytest.RequestHead(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		_, _ = io.Copy(io.Discard, c)
	})
	for _, test := range []struct {
		name   string
		status int
		edit   func(*Config)
	}{
		{"server's", http.StatusRequestEntityTooLarge, func(*Config) {}},
		{"proxy's", http.StatusServiceUnavailable, func(c *Config) {
			c.Signer = proxytest.FixedSigner{Err: signer.Errorf(signer.NoLogin, "nobody is logged in")}
		}},
	} {
		for _, size := range []int{10_000, 1_000_000, 20_000_000} { // of the last, most fits into no buffer
			for name, framing := range map[string]string{
				"with a length": fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
				"the last one":  fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n", size),
			} {
				t.Run(fmt.Sprint(test.name, " ", size, " ", name), func(t *testing.T) {
					t.Parallel()
					p := newProxy(t, server, test.edit)
					p.interceptor.h1.Linger = h1server.Linger{Pause: proxytest.Patience, Total: proxytest.Patience}
					p.serve(t)
					c := p.intercepted(t, "http/1.1")
					c.Send(t, "POST / HTTP/1.1\r\nHost: %s\r\n%s", proxytest.Host, framing)
					if _, err := io.CopyN(c, zeros{}, int64(size)); err != nil {
						t.Fatal(err)
					}
					res := c.Response(t, http.MethodPost)
					if body := proxytest.ReadAll(t, res.Body); res.StatusCode != test.status || body == "" {
						t.Errorf("%s, %q", res.Status, body)
					}
				})
			}
		}
	}
}

type zeros struct{}

// Read implements [io.Reader].
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLingerEnds waits neither for a client that sends no more of its body nor for
// one that never comes to its end.
func TestLingerEnds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits h1server.Linger
		goesOn bool
	}{
		"pause":    {h1server.Linger{Pause: time.Millisecond, Total: time.Hour}, false},
		"for ever": {h1server.Linger{Pause: time.Hour, Total: 100 * time.Millisecond}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, "", func(c *Config) {
				c.Signer = proxytest.FixedSigner{Err: signer.Errorf(signer.NoLogin, "nobody is logged in")}
			})
			p.interceptor.h1.Linger = test.limits
			p.serve(t)
			c := p.intercepted(t, "http/1.1")
			c.Send(t, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000000000\r\n\r\n%s", proxytest.Host, strings.Repeat("x", 100))
			if res := c.Response(t, http.MethodPost); res.StatusCode != http.StatusServiceUnavailable {
				t.Fatal(res.Status)
			}
			if test.goesOn {
				go func() {
					for {
						if _, err := io.WriteString(c, "x"); err != nil {
							return
						}
						time.Sleep(time.Millisecond)
					}
				}()
			}
			ctx, cancel := context.WithTimeout(t.Context(), proxytest.Patience)
			defer cancel()
			if err := p.interceptor.h1.Shutdown(ctx); err != nil {
				t.Errorf("the connection is not closed: %v", err)
			}
		})
	}
}

// TestEarlyAnswerWhileBodyIsAwaited has the server answer while the proxy waits for more of
// the body, and the client send all the rest before it reads.
func TestEarlyAnswerWhileBodyIsAwaited(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for name, test := range map[string]struct{ framing, begin, rest string }{
		"with a length": {fmt.Sprintf("Content-Length: %d", 1+size), "x", strings.Repeat("x", size)},
		"in chunks":     {"Transfer-Encoding: chunked", "1\r\nx\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, strings.Repeat("x", size))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{})
			server := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				r := bufio.NewReader(c)
				if _, err := proxytest.RequestHead(r); err != nil {
					return
				}
				_, _ = r.ReadString('x')
				_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
				close(answered)
				_, _ = io.Copy(io.Discard, c)
			})
			p := newProxy(t, server)
			p.interceptor.h1.Linger = h1server.Linger{Pause: proxytest.Patience, Total: proxytest.Patience}
			p.serve(t)
			c := p.intercepted(t, "http/1.1")
			c.Send(t, "POST / HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s", proxytest.Host, test.framing, test.begin)
			proxytest.Wait(t, "the server's answer", answered)
			p.logged(t, `"status":413`)
			for rest := test.rest; rest != ""; rest = rest[min(len(rest), 64<<10):] {
				c.Send(t, "%s", rest[:min(len(rest), 64<<10)])
			}
			res := c.Response(t, http.MethodPost)
			if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || body != "large" {
				t.Errorf("%s, %q", res.Status, body)
			}
		})
	}
}
