package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestUpgradeBeforeBody has a server switch protocols before it has the whole request, and
// after. In the first case two goroutines would read from the client, one for the rest of the
// request and one for what follows it.
func TestUpgradeBeforeBody(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
	for name, test := range map[string]struct {
		fields, body string
		read         int // of the body, before the server switches
		status       int
	}{
		"early, with a length":    {"Content-Length: 10\r\n", "hello", 5, http.StatusBadGateway},
		"early, in chunks":        {"Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n", 10, http.StatusBadGateway},
		"at once":                 {"Content-Length: 10\r\n", "", 0, http.StatusBadGateway},
		"at its end, of a length": {"Content-Length: 5\r\n", "hello", 5, http.StatusSwitchingProtocols},
		"at its end, in chunks":   {"Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", 15, http.StatusSwitchingProtocols},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				r := bufio.NewReader(c)
				if _, err := proxytest.RequestHead(r); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(r, make([]byte, test.read)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
				_, _ = io.Copy(c, r)
			}))
			c := p.intercepted(t)
			c.Send(t, "%s", head+test.fields+"\r\n"+test.body)
			res := c.Response(t, http.MethodPost)
			if test.status == http.StatusBadGateway {
				proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_failed", "destination_unavailable")
				return
			}
			if res.StatusCode != test.status {
				t.Fatal(res.Status)
			}
			c.Send(t, "over to you")
			c.Expect(t, "over to you")
		})
	}
}
