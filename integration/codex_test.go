//go:build linux

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// codexVersions are the versions of the Codex CLI that are tested: the last that
// speaks HTTP/1.1 only, and later ones, which speak HTTP/2. The newest is last, the
// others are in no order.
var codexVersions = []struct{ name, path, proto string }{
	{"0.122", "codex-0.122/vendor/x86_64-unknown-linux-musl/codex/codex", "HTTP/1.1"},
	{"0.169", "codex-0.169/vendor/x86_64-unknown-linux-musl/bin/codex", "HTTP/2.0"},
	{"0.150", "codex-0.150/vendor/x86_64-unknown-linux-musl/bin/codex", "HTTP/2.0"},
	{"0.171", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex", "HTTP/2.0"},
}

const codexReply = "The stand-in bids you good day."

// codexQuiet has Codex leave out what does not belong to the turn.
var codexQuiet = []string{"--disable", "apps", "--disable", "plugins", "-c", "analytics.enabled=false"}

func codexExec(options ...string) []string {
	return append(append([]string{"exec", "--skip-git-repo-check"}, options...), "say hi")
}

func TestCodex(t *testing.T) {
	t.Parallel()
	for i, version := range codexVersions {
		for _, scheme := range []string{chatgpttest.SchemeAgentAssertion, chatgpttest.SchemeBearer} {
			if i > 0 && i < len(codexVersions)-1 {
				continue // of the oldest and the newest alone, each cell
			}
			for _, transport := range []string{"WebSocket", "POST"} {
				for _, protocol := range []string{"h2", "http1"} {
					cell := codexCell{codex: version.path, proto: version.proto, scheme: scheme, post: transport == "POST", http1: protocol == "http1", options: codexQuiet}
					t.Run(version.name+"/"+scheme+"/"+transport+"/"+protocol, cell.test)
				}
			}
		}
		everything := codexCell{codex: version.path, proto: version.proto, scheme: chatgpttest.SchemeAgentAssertion, atLeast: 10}
		t.Run(version.name+"/everything", everything.test)
	}
}

// TestCodexMoved has the backend name another home for the workspace, which
// Codex 0.169 then talks to.
func TestCodexMoved(t *testing.T) {
	t.Parallel()
	const home = "gov.chatgpt.com"
	f := newFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Origin: "https://" + home, Reply: codexReply}})
	p := f.serve(t)
	codexHome, placeholder := codexHome(t, p)
	out := mustRun(t, append(p.env, "CODEX_HOME="+codexHome), npmProgram(t, codexVersions[1].path), codexExec(codexQuiet...)...)
	if !strings.Contains(out, codexReply) {
		t.Errorf("codex said %q", out)
	}
	requests := f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	checkNowhere(t, requests, placeholder)
	for _, r := range requests {
		if r.Path == "/backend-api/codex/responses" && (r.Host != home || r.TLSServerName != home) {
			t.Errorf("the turn went to host %s, server name %s; want %s", r.Host, r.TLSServerName, home)
		}
	}
}

// codexCell is one way for a turn of Codex to go through the proxy.
type codexCell struct {
	codex   string
	proto   string // that it speaks to the proxy
	scheme  string
	post    bool // the backend takes no WebSocket
	http1   bool // the backend speaks HTTP/1.1 only
	options []string
	atLeast int // requests
}

func (c codexCell) test(t *testing.T) {
	t.Parallel()
	codex := npmProgram(t, c.codex)
	use := map[string]string{chatgpttest.SchemeAgentAssertion: "agent-assertion", chatgpttest.SchemeBearer: "bearer"}[c.scheme]
	f := newFixture(t, fixtureConfig{
		backend: chatgpttest.Config{HTTP1Only: c.http1, Reply: codexReply},
		scope:   defaultScope,
		yaml:    "signer: {use: " + use + "}",
	})
	if c.post {
		f.backend.Inject(chatgpttest.Fault{
			Path:   "/backend-api/codex/responses",
			Match:  func(r *http.Request) bool { return r.Header.Get("Upgrade") != "" },
			Status: http.StatusUpgradeRequired,
		})
	}
	p := f.serve(t)
	home, placeholder := codexHome(t, p)

	r := run(t, append(p.env, "CODEX_HOME="+home), codex, codexExec(c.options...)...)
	if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
		t.Errorf("codex: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	requests := f.checkSigned(t, c.scheme)
	checkNowhere(t, requests, placeholder)
	if len(requests) < c.atLeast {
		t.Errorf("%d requests reached the backend, want at least %d", len(requests), c.atLeast)
	}
	c.checkTransport(t, f.backend.Stats(), requests)
}

// checkTransport checks that the turn went the way that the cell is for.
func (c codexCell) checkTransport(t *testing.T, stats chatgpttest.Stats, requests []chatgpttest.Request) {
	t.Helper()
	if stats.Responses != 1 {
		t.Errorf("the backend answered %d turns, want 1", stats.Responses)
	}
	posted := slices.ContainsFunc(requests, func(r chatgpttest.Request) bool {
		return r.Method == http.MethodPost && r.Path == "/backend-api/codex/responses"
	})
	if posted != c.post || (stats.WebSockets > 0) == c.post {
		t.Errorf("posted: %t, WebSockets: %d; want POST: %t", posted, stats.WebSockets, c.post)
	}
	for _, r := range requests {
		if r.Host == "ab.chatgpt.com" {
			continue // its telemetry has a client of its own, which speaks HTTP/1.1 in some versions
		}
		want := c.proto                               // the server is spoken to as the client speaks
		if c.http1 || r.Header.Get("Upgrade") != "" { // no HTTP/2 for WebSockets
			want = "HTTP/1.1"
		}
		if r.Proto != want {
			t.Errorf("%s %s reached the backend over %s, want %s", r.Method, r.Path, r.Proto, want)
		}
	}
}

// codexHome makes a CODEX_HOME with a placeholder in it and nothing else. It
// returns the tokens of the placeholder.
func codexHome(t *testing.T, p *proxy) (home string, tokens []string) {
	t.Helper()
	home = t.TempDir()
	path := filepath.Join(home, "auth.json")
	mustRun(t, baseEnv(t), agentproxy, "identity", "placeholder", "--config", p.fixture.config, "--output", path)
	placeholder, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.fixture.checkNoSecret(t, "the placeholder", string(placeholder))
	return home, placeholderTokens(t, placeholder)
}
