//go:build linux

package integration

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	proxypkg "github.com/agentproxy/agentproxy/proxy"
)

// Where Codex has a WebSocket, and where it has none although the path is in
// scope.
const (
	socketPath   = "/backend-api/codex/responses"
	noSocketPath = "/backend-api/wham/tasks"
)

// keepsToScope has a gateway's clients send what is refused for its header alone:
// the gateway must tell agentproxy of it.
func (g *gateway) keepsToScope(t *testing.T) {
	h1 := g.client(t, "h1", "127.0.0.1")
	refused := func(name, code, status string, body io.Reader) {
		t.Helper()
		got, err := io.ReadAll(body)
		if err != nil || !strings.Contains(string(got), `"code":"`+code+`"`) {
			t.Errorf("%s: %s %s, %v", name, status, got, err)
		}
	}
	for _, test := range []struct{ code, path, name, value string }{
		{"cross_site", noSocketPath, "Origin", "https://evil.example"},
		{"cross_site", noSocketPath, "Sec-Fetch-Site", "cross-site"},
		{"out_of_scope", socketPath, "Upgrade", "h2c"},
		{"out_of_scope", noSocketPath, "Upgrade", "websocket"},
		{"out_of_scope", noSocketPath, "Upgrade", "h2c"},
	} {
		headers := []string{test.name, test.value}
		if test.name == "Upgrade" {
			headers = append(headers, "Connection", "Upgrade")
		}
		response := g.ask(t, h1, "GET", test.path, nil, headers...)
		if g.deaf && test.name == "Upgrade" {
			if response.StatusCode < 400 {
				t.Errorf("%s with Upgrade: %s: %s", test.path, test.value, response.Status)
			}
			for _, r := range g.fixture.backend.Requests() {
				if got := r.Header.Get("Upgrade"); got != "" && got != "websocket" {
					t.Errorf("the backend was asked to speak %s", got)
				}
			}
			continue
		}
		refused(test.path+" with "+test.name+": "+test.value, test.code, response.Status, response.Body)
	}

	ctx, cancel := context.WithTimeout(t.Context(), rawTimeout)
	defer cancel()
	if g.deaf {
		g.fixture.backend.ResetRequests()
	}
	dial := func(path string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(ctx, "wss://"+gatewayName+path, &websocket.DialOptions{
			HTTPClient: h1,
			HTTPHeader: http.Header{"Authorization": {"Bearer the-clients-own"}},
		})
	}
	if conn, response, err := dial(noSocketPath); err == nil {
		conn.CloseNow()
		t.Errorf("%s became a WebSocket", noSocketPath)
	} else if response != nil {
		refused("WebSocket at "+noSocketPath, "out_of_scope", response.Status, response.Body)
	} else {
		t.Error(err)
	}
	if got := g.fixture.backend.Requests(); slices.ContainsFunc(got, func(r chatgpttest.Request) bool { return r.Path == noSocketPath || r.Path == socketPath }) {
		t.Error("what is refused reached the backend")
	}

	conn, _, err := dial(socketPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := closeSocket(conn, websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	// agentproxy refuses these, unless the gateway does not pass them on.
	for _, name := range []string{"chatgpt_account_id", "X_OpenAI_Fedramp", "x-openai_agent-assertion"} {
		bodyOf(t, g.ask(t, h1, "GET", noSocketPath, nil, name, "the-clients-own"))
	}
	g.checkClean(t, g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion))
}

// TestEnvoyScope has Envoy's filter, played as in TestEnvoy, tell of what is
// refused or kept for its header alone.
func TestEnvoyScope(t *testing.T) {
	t.Parallel()
	g := newGateway(t, fixtureConfig{scope: defaultScope})
	for name, f := range map[string]envoyFilter{"gRPC": g.envoyGRPC(t), "HTTP": g.envoyHTTP(t)} {
		t.Run(name, func(t *testing.T) {
			for _, test := range []struct{ path, name, value, code string }{
				{noSocketPath, "Origin", "https://evil.example", "cross_site"},
				{noSocketPath, "Sec-Fetch-Site", "cross-site", "cross_site"},
				{noSocketPath, "Upgrade", "websocket", "out_of_scope"},
				{socketPath, "Upgrade", "h2c", "out_of_scope"},
				{noSocketPath, "Chatgpt_account_id", "the-clients-own", "malformed_request"},
				{noSocketPath, "X_openai_fedramp", "true", "malformed_request"},
				{noSocketPath, "X-Openai_agent-Assertion", "the-clients-own", "malformed_request"},
				{noSocketPath, "X_openai-Authorization", "the-clients-own", "malformed_request"},

				{noSocketPath, "Session_id", "not a credential", ""},
				{noSocketPath, "Origin", "https://chatgpt.com", ""},
				{socketPath, "Upgrade", "websocket", ""},
			} {
				r := clientRequest("GET", test.path)
				r.header[test.name] = []string{test.value}
				got := f.check(t, g, r)
				if test.code == "" && got.status != 0 || test.code != "" && !strings.Contains(got.body, `"code":"`+test.code+`"`) {
					t.Errorf("%s with %s: %s: %+v, want %q", test.path, test.name, test.value, got, test.code)
				}
			}
			// What remote control has in place of the agent's credential is its own.
			r := clientRequest("POST", "/backend-api/wham/remote/control/server/pair")
			if got := f.check(t, g, r); got.status != 0 || r.header.Get("ChatGPT-Account-ID") != "the-clients-own" || r.header.Get("Authorization") != "Bearer the-clients-own" {
				t.Errorf("remote control: %+v, sent with %v", got, r.header)
			}
			checkLeavesOut(t, func(r pending) verdict { return f.check(t, g, r) })
		})
	}
}

// TestTraefikScope has Traefik's middlewares, played as in TestTraefik, tell of
// what is refused for its header alone. They leave Upgrade out, but not what a
// WebSocket cannot be opened without.
func TestTraefikScope(t *testing.T) {
	t.Parallel()
	g := newGateway(t, fixtureConfig{scope: defaultScope})
	route := g.traefik(t)
	for _, test := range []struct{ path, name, value, code string }{
		{noSocketPath, "Origin", "https://evil.example", "cross_site"},
		{noSocketPath, "Sec-Fetch-Site", "cross-site", "cross_site"},
		{noSocketPath, "Upgrade", "websocket", "out_of_scope"},
		{noSocketPath, "Chatgpt_account_id", "the-clients-own", "malformed_request"},
		{socketPath, "Upgrade", "websocket", ""},
	} {
		r := clientRequest("GET", test.path)
		r.header[test.name] = []string{test.value}
		if test.name == "Upgrade" {
			r.header.Set("Connection", "Upgrade")
			r.header.Set("Sec-WebSocket-Version", "13")
			r.header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		}
		got := route.check(t, r)
		if test.code == "" && got.status != 0 || test.code != "" && !strings.Contains(got.body, `"code":"`+test.code+`"`) {
			t.Errorf("%s with %s: %s: %+v, want %q", test.path, test.name, test.value, got, test.code)
		}
	}
	checkLeavesOut(t, func(r pending) verdict { return route.check(t, r) })
}

// checkLeavesOut has a gateway that is played take the client's credentials off
// requests that agentproxy answers without any.
func checkLeavesOut(t *testing.T, check func(pending) verdict) {
	t.Helper()
	for method, path := range map[string]string{"HEAD": socketPath, "GET": "/backend-api/wham/agent-identities/jwks"} {
		r := clientRequest(method, path)
		got := check(r)
		for _, name := range proxypkg.CredentialHeaders() {
			if got.status != 0 || r.header[name] != nil {
				t.Errorf("%s %s: %+v, sent with %s: %q", method, path, got, name, r.header[name])
			}
		}
	}
}
