package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestUpgradeWithoutConnection has a server answer an upgrade with a 101 that lacks "Connection: Upgrade"
// (RFC 9110, section 7.8), whose body net/http makes no connection of.
func TestUpgradeWithoutConnection(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]string{"none": "", "another": "Connection: keep-alive\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, newOddServer(t, "HTTP/1.1 101 Switching Protocols\r\n"+fields+"Upgrade: websocket\r\n\r\n"))
			c := p.intercepted(t)
			c.Send(t, "GET /odd HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", proxytest.Host)
			proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusBadGateway, "upstream_failed", "destination_unavailable")
			if log := p.log.String(); strings.Contains(log, "panic") {
				t.Error(log)
			}
		})
	}
}

// TestUpgradeOfHTTP10 has a client of HTTP/1.0 ask for an upgrade, which is ignored (RFC 9110, section 7.8).
func TestUpgradeOfHTTP10(t *testing.T) {
	t.Parallel()
	p := startProxy(t, newOddServer(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
	c := p.intercepted(t)
	c.Send(t, "GET /odd HTTP/1.0\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", proxytest.Host)
	if res := c.Response(t, http.MethodGet); res.StatusCode < 200 {
		t.Errorf("a client of HTTP/1.0 got %s", res.Status)
	}
}
