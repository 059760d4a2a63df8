package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestPages sends what a web page can have a browser send to the proxy's port:
// it is refused before anything is done, in the same words with a token and
// without, and a body is not taken for a request.
func TestPages(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	const (
		human = `{"error":{"code":"not_a_proxy_request","message":"this is a proxy, not a web server: set HTTPS_PROXY to this address"}}` + "\n"
		page  = `{"error":{"code":"bad_request","message":"bad request"}}` + "\n"
	)
	inner := "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n"
	for _, token := range []string{"", "token"} {
		p := startProxy(t, address, func(c *Config) { c.Clients.Token = token })
		for _, test := range []struct{ name, head, body, want string }{
			{"GET", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n", "", human},
			{"GET of localhost", "GET /a?b HTTP/1.1\r\nHost: localhost:8080\r\n", "", human},
			{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: [::1]\r\n", "", human},
			{"form", "POST / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\n", "a=b", page},
			{"form with a request in it", "POST /backend-api/codex/responses HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: null\r\n", inner + inner, page},
			{"fetch", "GET /backend-api/me HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nSec-Fetch-Site: cross-site\r\n", "", page},
			{"preflight", "OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Private-Network: true\r\n", "", page},
			{"DNS rebinding", "GET / HTTP/1.1\r\nHost: rebound.evil.example:8080\r\n", "", page},
			{"a WebSocket", "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", "", page},
			{"in the name of ChatGPT", "GET /backend-api/me HTTP/1.1\r\nHost: chatgpt.com\r\n", "", page},
		} {
			t.Run(test.name, func(t *testing.T) {
				c := p.dial(t)
				// The token too, for a browser may have been told it.
				c.Send(t, "%sProxy-Authorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s", test.head, proxytest.BasicAuth("x", "token"), len(test.body), test.body)
				res := c.Response(t, http.MethodGet)
				if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusBadRequest || body != test.want {
					t.Errorf("%s: %s", res.Status, body)
				}
				for name := range res.Header {
					if strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Proxy-") || name == "Server" {
						t.Errorf("%s: %q", name, res.Header[name])
					}
				}
				c.ExpectEOF(t)
			})
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
}
