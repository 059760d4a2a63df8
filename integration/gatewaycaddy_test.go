//go:build linux

package integration

import (
	"net"
	"path/filepath"
	"testing"
)

// TestCaddy has Caddy run deploy/caddy/Caddyfile.
func TestCaddy(t *testing.T) {
	caddy, err := filepath.Abs(filepath.Join("clients", "bin", "caddy"))
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(caddy) {
		t.Fatalf("%s is missing; run make clients", caddy)
	}
	behaves(t, usualLabel, func(t *testing.T, g *gateway) {
		token := filepath.Join(g.dir, "token")
		writeFile(t, token, []byte(g.token+"\n"))
		host, port, err := net.SplitHostPort(g.addr)
		if err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(g.dir, "Caddyfile")
		writeFile(t, config, []byte(deployed(t, "caddy/Caddyfile",
			"127.0.0.1:9090", g.authz,
			"chatgpt.com:443", g.fixture.backend.Addr(),
			"bind 127.0.0.1", "bind "+host,
			gatewayName+":8443", gatewayName+":"+port,
			"/etc/caddy/gateway.pem", g.cert,
			"/etc/caddy/gateway-key.pem", g.key,
			"/etc/caddy/agentproxy-token", token,
			"/etc/ssl/certs/ca-certificates.crt", g.upstreamCA(),
		)))
		g.start(t, caddy, "run", "--config", config, "--adapter", "caddyfile")
	})
}
