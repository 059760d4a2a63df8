//go:build linux

package integration

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestCodexAsOracle has Codex sign by itself: what verifies its assertions is
// what verifies the proxy's, so that the two agree on the protocol. The proxy
// leaves the requests as they come.
func TestCodexAsOracle(t *testing.T) {
	t.Parallel()
	const passThrough = `signer: {use: bearer, rules: [{path: "**", use: none}]}`
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
				yaml:    passThrough,
			})
			p := f.serve(t)
			home := t.TempDir()
			writeFile(t, filepath.Join(home, "auth.json"), test.auth(f.login))
			out := mustRun(t, append(p.env, "CODEX_HOME="+home), npmProgram(t, test.codex), codexExec(append(codexQuiet, test.options...)...)...)
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

// TestCodexTakesExport has Codex 0.169 sign with an identity that agentproxy has
// registered and exported.
func TestCodexTakesExport(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{
		backend: chatgpttest.Config{Reply: codexReply, AssertionWithAccountID: true},
		yaml:    `signer: {use: bearer, rules: [{path: "**", use: none}]}`,
	})
	mustRun(t, baseEnv(t), agentproxy, "identity", "register", "--config", f.config)
	home := t.TempDir()
	before := readFile(t, filepath.Join(f.codexHome, "auth.json"))
	mustRun(t, baseEnv(t), agentproxy, "identity", "export", "--codex", "--yes", "--config", f.config)
	exported := readFile(t, filepath.Join(f.codexHome, "auth.json"))
	if exported == before || !strings.Contains(exported, `"account_id"`) {
		t.Fatalf("auth.json after the export:\n%s", exported)
	}
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
	writeFile(t, filepath.Join(home, "auth.json"), withoutTokens)

	p := f.serve(t)
	out := mustRun(t, append(p.env, "CODEX_HOME="+home), npmProgram(t, codexVersions[1].path), codexExec(codexQuiet...)...)
	if !strings.Contains(out, codexReply) {
		t.Errorf("codex said %q", out)
	}
	signed := 0
	for _, r := range f.backend.Requests() {
		if r.Auth.Scheme == chatgpttest.SchemeAgentAssertion && r.Auth.OK {
			signed++
		}
	}
	if signed == 0 {
		t.Error("Codex signed no request with the exported identity")
	}
}
