//go:build linux

package integration

import (
	"encoding/base64"
	"maps"
	"net"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/elazarl/goproxy"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// directly returns the environment of a Codex that reaches the stand-in past
// agentproxy: its proxy leads every CONNECT there and reads nothing.
func directly(t *testing.T, backend *chatgpttest.Server, home string) []string {
	t.Helper()
	p := goproxy.NewProxyHttpServer()
	p.Logger = quietly{}
	p.ConnectDial = func(network, _ string) (net.Conn, error) { return net.Dial(network, backend.Addr()) }
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	ca := filepath.Join(home, "ca.pem")
	writeFile(t, ca, backend.CertPEM())
	return append(baseEnv(t), "CODEX_HOME="+home, "HTTPS_PROXY="+front.URL, "CODEX_CA_CERTIFICATE="+ca)
}

// quietly logs nothing.
type quietly struct{}

func (quietly) Printf(string, ...any) {}

// A handshake is how an agent of the second generation comes to its first turn.
type handshake struct{ register, task, turn chatgpttest.Request }

// handshakeOf picks the three requests out.
func handshakeOf(t *testing.T, backend *chatgpttest.Server) handshake {
	t.Helper()
	var h handshake
	for _, r := range backend.Requests() {
		var to *chatgpttest.Request
		switch {
		case r.Path == "/api/accounts/v1/agent/register":
			to = &h.register
		case strings.HasPrefix(r.Path, "/api/accounts/v1/agent/") && strings.HasSuffix(r.Path, "/task/register"):
			to = &h.task
		case r.Path == "/backend-api/codex/responses":
			to = &h.turn
		default:
			continue
		}
		if !r.Auth.OK || r.Status >= 400 {
			t.Errorf("%s: status %d %s", r.Path, r.Status, r.Auth.Reason)
		}
		*to = r
	}
	for _, r := range []chatgpttest.Request{h.register, h.task, h.turn} {
		if r.Path == "" {
			t.Fatal("a registration, or the turn, did not reach the stand-in")
		}
	}
	for _, unwanted := range backend.Unwanted() {
		t.Error(unwanted)
	}
	return h
}

// random is what differs from one agent to the next, and masked hides it.
var random = regexp.MustCompile(`ssh-ed25519 [A-Za-z0-9+/=]{68}|agent-[A-Z2-7]{26}|task-[A-Z2-7]{26}|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ|[A-Za-z0-9+/]{86}==` +
	`|"agent_version":"[^"]+"|"running_location":"[a-z]+-`)

func masked(s string) string { return random.ReplaceAllString(s, "…") }

// names returns the names of a request's headers. In which encodings it takes an
// answer each client knows best: Codex names none, or some, from version to version.
func names(r chatgpttest.Request) []string {
	header := maps.Clone(r.Header)
	delete(header, "Accept-Encoding")
	return slices.Sorted(maps.Keys(header))
}

// envelope returns what the request's assertion carries.
func envelope(t *testing.T, r chatgpttest.Request) string {
	t.Helper()
	credential, ok := strings.CutPrefix(r.Header.Get("Authorization"), chatgpttest.SchemeAgentAssertion+" ")
	raw, err := base64.RawURLEncoding.DecodeString(credential)
	if !ok || err != nil {
		t.Fatalf("no assertion: %.60s", r.Header.Get("Authorization"))
	}
	return string(raw)
}

// TestCodexAsOracleOfAccounts has Codex come to its first turn by itself, and the
// proxy in its stead. What arrives is the same but for what is random.
func TestCodexAsOracleOfAccounts(t *testing.T) {
	t.Parallel()
	turn := codexExec(append(slices.Clone(codexQuiet), "--enable", "use_agent_identity")...)
	newest := codexVersions[len(codexVersions)-1].path
	for _, fedRAMP := range []bool{false, true} {
		account := chatgpttest.Account{FedRAMP: fedRAMP}
		by := func(t *testing.T, program string) handshake {
			backend, err := chatgpttest.NewServerWith(chatgpttest.Config{Reply: codexReply, SigningKey: signingKey()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(backend.Close)
			home := t.TempDir()
			writeFile(t, filepath.Join(home, "auth.json"), backend.Login(account).AuthJSON())
			if out := mustRun(t, directly(t, backend, home), npmProgram(t, program), turn...); !strings.Contains(out, codexReply) {
				t.Errorf("codex said %q", out)
			}
			return handshakeOf(t, backend)
		}
		name := map[bool]string{false: "", true: " of FedRAMP"}[fedRAMP]
		t.Run("ours"+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
			f.login = f.backend.Login(account)
			f.logIn(t, f.login)
			p := f.serve(t)
			home, _ := codexHome(t, p)
			// The client is one that signs by itself, so that it says the same.
			if out := mustRun(t, append(p.env, "CODEX_HOME="+home), npmProgram(t, newest), codexExec(codexQuiet...)...); !strings.Contains(out, codexReply) {
				t.Errorf("codex said %q", out)
			}
			ours, theirs := handshakeOf(t, f.backend), by(t, newest)
			compareHandshakes(t, ours, theirs)
		})
		t.Run("0.143"+name, func(t *testing.T) {
			t.Parallel()
			by(t, "codex-0.143/vendor/x86_64-unknown-linux-musl/bin/codex")
		})
	}
}

// agents are what Codex and we call ourselves.
var codexAgent = regexp.MustCompile(`^(codex_[a-z_]+)/0\.\d+\.\d+ \([^()]*; [a-z0-9_]+\) [^()]+`)

func compareHandshakes(t *testing.T, ours, theirs handshake) {
	t.Helper()
	for _, pair := range []struct {
		name         string
		ours, theirs chatgpttest.Request
	}{{"the agent's registration", ours.register, theirs.register}, {"the task's registration", ours.task, theirs.task}, {"the turn", ours.turn, theirs.turn}} {
		o, c := pair.ours, pair.theirs
		if o.Method != c.Method || o.Host != c.Host || masked(o.RequestURI) != masked(c.RequestURI) {
			t.Errorf("%s: we ask %s %s%s, Codex %s %s%s", pair.name, o.Method, o.Host, o.RequestURI, c.Method, c.Host, c.RequestURI)
		}
		if got, want := names(o), names(c); !slices.Equal(got, want) {
			t.Errorf("%s: our headers are %q, Codex's %q", pair.name, got, want)
		}
		if got, want := masked(string(o.Body)), masked(string(c.Body)); got != want {
			t.Errorf("%s: our body is\n%s, Codex's\n%s", pair.name, got, want)
		}
		for _, header := range []string{"Content-Type", "Accept", "ChatGPT-Account-ID", "X-OpenAI-Fedramp"} {
			if got, want := o.Header.Values(header), c.Header.Values(header); !slices.Equal(got, want) {
				t.Errorf("%s: our %s is %q, Codex's %q", pair.name, header, got, want)
			}
		}
		for _, r := range []chatgpttest.Request{o, c} {
			m := codexAgent.FindStringSubmatch(r.Header.Get("User-Agent"))
			if m == nil || m[1] != r.Header.Get("Originator") {
				t.Errorf("%s: user agent %q of originator %q", pair.name, r.Header.Get("User-Agent"), r.Header.Get("Originator"))
			}
		}
	}
	if got, want := masked(envelope(t, ours.turn)), masked(envelope(t, theirs.turn)); got != want {
		t.Errorf("our assertion is %s, Codex's %s", got, want)
	}
}
