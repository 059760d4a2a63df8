//go:build linux

package integration

import (
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// turnsStrangersAway sends requests from an address that may not come, and from one
// that may.
func (g *gateway) turnsStrangersAway(t *testing.T) {
	for _, proto := range []string{"h1", "h2"} {
		response := g.ask(t, g.client(t, proto, "127.0.0.3"), "GET", "/backend-api/test/echo", nil,
			"X-Forwarded-For", "127.0.0.2", "X-Real-Ip", "127.0.0.2", "Forwarded", "for=127.0.0.2")
		if body := bodyOf(t, response); response.StatusCode != 403 {
			t.Errorf("a stranger over %s: %s %s", proto, response.Status, body)
		}
	}
	if got := g.fixture.backend.Requests(); len(got) > 0 {
		t.Errorf("%d requests of strangers, or tasks for them, reached the backend", len(got))
	}
	response := g.ask(t, g.client(t, "h2", "127.0.0.2"), "GET", "/backend-api/test/echo", nil)
	if body := bodyOf(t, response); response.StatusCode != 200 {
		t.Errorf("one who may come: %s %s", response.Status, body)
	}
	g.checkClean(t, g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion))
}
