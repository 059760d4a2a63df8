//go:build linux

package integration

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestCodexAsOracle has Codex sign by itself: what verifies its assertions is
// what verifies the proxy's, so that the two agree on the protocol.
func TestCodexAsOracle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, codex string
		auth        func(*chatgpttest.Login) []byte
		options     []string
		signed      string // the path that must have been signed
	}{
		{
			name:    "0.123 from shape A",
			codex:   "codex-0.123/vendor/x86_64-unknown-linux-musl/codex/codex",
			auth:    func(l *chatgpttest.Login) []byte { return l.AuthJSONWithIdentity("A") },
			options: []string{"--enable", "use_agent_identity"},
			signed:  "/backend-api/codex/responses",
		},
		{
			name:   "0.169 from shape C",
			codex:  codexVersions[1].path,
			auth:   func(l *chatgpttest.Login) []byte { return l.AgentAuthJSON("C") },
			signed: "/backend-api/codex/responses",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// Codex 0.169 names the account besides its assertion.
			f := newFixture(t, fixtureConfig{
				backend: chatgpttest.Config{Reply: codexReply, AssertionWithAccountID: true},
			})
			home := t.TempDir()
			writeFile(t, filepath.Join(home, "auth.json"), test.auth(f.login))
			out := mustRun(t, directly(t, f.backend, home), npmProgram(t, test.codex), codexExec(append(codexQuiet, test.options...)...)...)
			if !strings.Contains(out, codexReply) {
				t.Errorf("codex said %q", out)
			}
			signed := 0
			for _, r := range f.backend.Requests() {
				if r.Auth.Scheme == chatgpttest.SchemeAgentAssertion && r.Path == test.signed {
					signed++
				}
				if !r.Auth.OK {
					t.Errorf("%s %s: %s", r.Method, r.Path, r.Auth.Reason)
				}
			}
			if signed == 0 {
				t.Errorf("Codex signed no request for %s", test.signed)
			}
		})
	}
}

// TestCodexTakesExport has Codex sign with an identity that agentproxy has registered
// and exported, in the shapes that this version reads, and be logged out by the
// others, as the export says.
func TestCodexTakesExport(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		protocol, shape, codex string
		reads                  bool
	}{
		{"accounts", "N", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex", true},
		{"accounts", "N", "codex-0.150/vendor/x86_64-unknown-linux-musl/bin/codex", true},
		{"accounts", "C", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex", true},
		{"backend", "A", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex", false},
		{"backend", "A", "codex-0.123/vendor/x86_64-unknown-linux-musl/codex/codex", true},
		{"backend", "C", "codex-0.123/vendor/x86_64-unknown-linux-musl/codex/codex", true},
		{"backend", "N", "codex-0.123/vendor/x86_64-unknown-linux-musl/codex/codex", false},
	} {
		name, _, _ := strings.Cut(test.codex, "/")
		t.Run(test.shape+" to "+name, func(t *testing.T) {
			t.Parallel()
			f := newLoginFixture(t, fixtureConfig{
				backend:  chatgpttest.Config{Reply: codexReply, AssertionWithAccountID: true},
				identity: "protocol: " + test.protocol,
			})
			mustRun(t, baseEnv(t), agentproxy, "identity", "register", "--config", f.config)
			mustRun(t, baseEnv(t), agentproxy, "identity", "export", "--codex", "--yes", "--shape", test.shape, "--config", f.config)
			options := slices.Clone(codexQuiet)
			if test.codex[len("codex-"):] < "0.124" {
				options = append(options, "--enable", "use_agent_identity")
			}
			exported := readFile(t, filepath.Join(f.codexHome, "auth.json"))
			home := t.TempDir()
			if test.protocol == "accounts" { // else it would be signed with the tokens
				var auth map[string]json.RawMessage
				if err := json.Unmarshal([]byte(exported), &auth); err != nil {
					t.Fatal(err)
				}
				auth["auth_mode"] = json.RawMessage(`"agentIdentity"`)
				delete(auth, "tokens")
				withoutTokens, err := json.Marshal(auth)
				if err != nil {
					t.Fatal(err)
				}
				exported = string(withoutTokens)
			}
			writeFile(t, filepath.Join(home, "auth.json"), []byte(exported))
			agents := f.backend.Stats().AgentRegistrations
			result := run(t, directly(t, f.backend, home), npmProgram(t, test.codex), "login", "status")
			if loggedIn := strings.Contains(result.stdout+result.stderr, "Logged in"); loggedIn != test.reads {
				t.Fatalf("codex login status: %s%s", result.stdout, result.stderr)
			}
			if !test.reads {
				return
			}
			out := mustRun(t, directly(t, f.backend, home), npmProgram(t, test.codex), codexExec(options...)...)
			if !strings.Contains(out, codexReply) {
				t.Errorf("codex said %q", out)
			}
			signed := 0
			for _, r := range f.backend.Requests() {
				if r.Auth.Scheme == chatgpttest.SchemeAgentAssertion && r.Auth.OK {
					signed++
				}
			}
			if signed == 0 || f.backend.Stats().AgentRegistrations != agents {
				t.Errorf("Codex signed %d requests with the exported identity, and registered %d", signed, f.backend.Stats().AgentRegistrations-agents)
			}
		})
	}
}
