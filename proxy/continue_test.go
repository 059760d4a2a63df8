package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestContinueAmongHints has a server ask for the body of a request and send early hints at the
// same time. The first read of the body sends a 100 to the client, on a goroutine of a
// transport, and another one passes on the hints.
func TestContinueAmongHints(t *testing.T) {
	t.Parallel()
	const hints = 50
	hint := "HTTP/1.1 103 Early Hints\r\nLink: <" + strings.Repeat("x", 1000) + ">\r\n\r\n"
	for _, fields := range []string{"", "Connection: Upgrade\r\nUpgrade: tcp\r\n"} {
		t.Run(fields, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				r := bufio.NewReader(c)
				for {
					if _, err := proxytest.RequestHead(r); err != nil {
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"+strings.Repeat(hint, hints))
					if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				}
			}))
			c := p.intercepted(t)
			for range 20 {
				c.Send(t, "POST / HTTP/1.1\r\nHost: chatgpt.com\r\nExpect: 100-continue\r\nContent-Length: 5\r\n%s\r\n", fields)
				asked, hinted := 0, 0
				res := c.Response(t, http.MethodPost)
				for ; res.StatusCode < 200; res = c.Response(t, http.MethodPost) {
					if res.StatusCode == http.StatusContinue {
						asked++
						c.Send(t, "hello")
						continue
					}
					if hinted++; len(res.Header["Link"]) != 1 || len(res.Header.Get("Link")) != 1002 {
						t.Fatalf("hint %d: %v", hinted, res.Header)
					}
				}
				if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusOK || body != "ok" || asked != 1 || hinted != hints {
					t.Fatalf("%s, %q; the body was asked for %d times, and %d hints came", res.Status, body, asked, hinted)
				}
			}
		})
	}
}
