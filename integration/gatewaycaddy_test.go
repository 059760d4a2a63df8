//go:build linux

package integration

import (
	"net"
	"path/filepath"
	"testing"
)

// TestCaddy has Debian's Caddy run deploy/caddy/Caddyfile.
func TestCaddy(t *testing.T) { caddyBehaves(t, systemProgram(t, "caddy")) }

// caddyBehaves has a version of Caddy do all that a gateway must.
func caddyBehaves(t *testing.T, caddy string) {
	behaves(t, usualLabel, func(t *testing.T, g *gateway) {
		g.env = []string{"SSL_CERT_FILE=" + g.upstreamCA()}
		startCaddy(t, g, caddy)
	})
	t.Run("refuses a server of another authority", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		startCaddy(t, g, caddy)
		response := g.ask(t, g.client(t, "h2", "127.0.0.1"), "GET", "/backend-api/test/echo", nil)
		if bodyOf(t, response); response.StatusCode != 502 {
			t.Errorf("%s", response.Status)
		}
		if got := g.fixture.backend.Count("/backend-api/test/echo"); got > 0 {
			t.Errorf("%d requests reached the backend", got)
		}
	})
}

func startCaddy(t *testing.T, g *gateway, caddy string) {
	t.Helper()
	token := filepath.Join(g.dir, "token.conf")
	writeFile(t, token, []byte("header_up X-Agentproxy-Token "+g.token+"\n"))
	host, port, err := net.SplitHostPort(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(g.dir, "Caddyfile")
	writeFile(t, config, []byte(deployed(t, "caddy/Caddyfile",
		"127.0.0.1:9090", g.authz,
		"chatgpt.com:443", g.fixture.backend.Addr(),
		deployedAllowed, g.allowed,
		"bind 127.0.0.1", "bind "+host,
		gatewayName+":8443", gatewayName+":"+port,
		"/etc/caddy/gateway.pem", g.cert,
		"/etc/caddy/gateway-key.pem", g.key,
		"/etc/caddy/agentproxy-token.conf", token,
	)))
	g.start(t, caddy, "run", "--config", config, "--adapter", "caddyfile")
}
