//go:build linux && codexmatrix

package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestCodexMatrix has every version of Codex that make test-codex has fetched make
// turns through the proxy, for each kind of log-in and over both transports.
func TestCodexMatrix(t *testing.T) {
	dir, versions := os.Getenv("CODEX_MATRIX"), strings.Fields(os.Getenv("CODEX_VERSIONS"))
	if len(versions) == 0 {
		t.Fatal("CODEX_VERSIONS names no version; run make test-codex")
	}
	logins := []struct {
		name string
		mode codexMode
		yaml string
		auth func(*chatgpttest.Login) []byte
	}{
		{"tokens and an agent", modeIdentity, "", (*chatgpttest.Login).AuthJSON},
		{"tokens alone", modeTokens, "signer: {use: bearer}", (*chatgpttest.Login).AuthJSON},
		{"an agent alone", modeAgentOnly, "", func(l *chatgpttest.Login) []byte { return l.AgentAuthJSON("N") }},
	}
	for _, version := range versions {
		programs, err := filepath.Glob(filepath.Join(dir, "node_modules", "codex-"+version, "vendor", "x86_64-unknown-linux-musl", "*", "codex"))
		if err != nil || len(programs) != 1 {
			t.Fatalf("Codex %s is not below CODEX_MATRIX=%q; run make test-codex", version, dir)
		}
		program := programs[0]
		for _, login := range logins {
			for _, transport := range []string{"WebSocket", "POST"} {
				t.Run(version+"/"+login.name+"/"+transport, func(t *testing.T) {
					t.Parallel()
					f := newFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}, yaml: login.yaml})
					writeFile(t, filepath.Join(f.codexHome, "auth.json"), login.auth(f.login))
					if transport == "POST" {
						f.backend.Inject(chatgpttest.Fault{
							Path:   "/backend-api/codex/responses",
							Match:  func(r *http.Request) bool { return r.Header.Get("Upgrade") != "" },
							Status: http.StatusUpgradeRequired,
						})
					}
					u := f.user(t, program)
					u.turn(t, codexExec()...)
					u.turn(t, "exec", "--skip-git-repo-check", "resume", "--last", "again")
					requests := u.checkAsCodex(t, login.mode, u.placeholder)
					t.Logf("%d requests", len(requests))
				})
			}
		}
	}
}
