//go:build linux

package integration

import (
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	proxypkg "github.com/agentproxy/agentproxy/proxy"
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

// replacesCredentials has a client's credentials be replaced by none where agentproxy
// answers with none, and stay where it answers with the client's own.
func (g *gateway) replacesCredentials(t *testing.T, proto string) {
	own := []string{"X-OpenAI-Agent-Assertion", "the-clients-own", "X-OpenAI-Authorization", "the-clients-own"}
	for _, test := range []struct {
		method, path string
		client       bool // the client's own stay
	}{
		{"HEAD", "/backend-api/codex/responses", false},
		{"GET", "/backend-api/wham/agent-identities/jwks", false},
		{"GET", "/backend-api/test/echo", false},
		{"PUT", "/backend-api/test/upload", true},
	} {
		g.fixture.backend.ResetRequests()
		bodyOf(t, g.ask(t, g.client(t, proto, "127.0.0.1"), test.method, test.path, nil, own...))
		requests := g.fixture.backend.Requests()
		if len(requests) != 1 || requests[0].Method != test.method || requests[0].Path != test.path {
			t.Errorf("%s %s: %d requests reached the backend", test.method, test.path, len(requests))
			continue
		}
		for _, name := range proxypkg.CredentialHeaders() {
			var want []string
			if test.client {
				want = []string{"the-clients-own"}
				if name == "Authorization" {
					want = []string{"Bearer the-clients-own"}
				}
			}
			if got := requests[0].Header[name]; !slices.Equal(got, want) {
				t.Errorf("%s %s reached the backend with %s: %q, want %q", test.method, test.path, name, got, want)
			}
		}
	}
}
