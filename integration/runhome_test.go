//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// runVersions are the versions of Codex whose sessions are looked for: those before
// there were absolute paths of sessions in a database, and after.
var runVersions = []struct {
	name, path string
	sandbox    []string // runs a command in Codex's own sandbox
}{
	{"0.122", "codex-0.122/vendor/x86_64-unknown-linux-musl/codex/codex", []string{"sandbox", "linux", "--"}},
	{"0.150", "codex-0.150/vendor/x86_64-unknown-linux-musl/bin/codex", []string{"sandbox", "--"}},
	{"0.171", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex", []string{"sandbox", "--"}},
}

var execSessionID = regexp.MustCompile(`session id: ([0-9a-f-]{36})`)

// TestRunSessions starts from a home that has nothing but a log-in. After two runs
// of Codex each session is where plain Codex finds it, and runs do.
func TestRunSessions(t *testing.T) {
	t.Parallel()
	for _, version := range runVersions {
		for _, mode := range []string{"always", "off"} {
			t.Run(version.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{})
				codex := u.codex(t, version.path)
				exec := append([]string{codex, "exec", "--skip-git-repo-check"}, codexQuiet...)
				var ids []string
				for _, prompt := range []string{"the first thing", "the second thing"} {
					r := u.run(t, mode, append(slices.Clone(exec), prompt)...)
					m := execSessionID.FindStringSubmatch(r.stderr)
					if r.code != 0 || !strings.Contains(r.stdout, codexReply) || m == nil {
						t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
					}
					if turns := u.turns(t); len(turns) != 1 || !strings.Contains(turns[0], prompt) {
						t.Errorf("%d turns; want one with %q", len(turns), prompt)
					}
					ids = append(ids, m[1])
				}
				environ := u.serve(t)
				otherMode := map[string]string{"always": "off", "off": "always"}[mode]
				for _, session := range []struct {
					args, first, other string
					where              []string
				}{
					{ids[0], "the first thing", "the second thing", []string{"plain", mode}},
					{"--last", "the first thing", "the second thing", []string{"plain", mode, otherMode}}, // that one was used last
					{ids[1], "the second thing", "the first thing", []string{mode, otherMode}},
				} {
					for _, where := range session.where {
						args := append(slices.Clone(exec), "resume", session.args, "and then")
						var r result
						if where == "plain" {
							r = runCommand(t, u.command(t, environ, args[0], args[1:]...))
						} else {
							r = u.run(t, where, args...)
						}
						if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
							t.Fatalf("resume %s, %s: exit code %d\n%s%s", session.args, where, r.code, r.stdout, r.stderr)
						}
						turns := u.turns(t)
						if len(turns) != 1 || !strings.Contains(turns[0], session.first) || strings.Contains(turns[0], session.other) {
							t.Errorf("resume %s, %s: %d turns; it does not go on with %q", session.args, where, len(turns), session.first)
						}
					}
				}
				u.checkSettings(t, codex, mode, environ)
			})
		}
	}
}

// checkSettings has a Codex in a run write down what plain Codex is to find.
func (u *runUser) checkSettings(t *testing.T, codex, mode string, environ []string) {
	t.Helper()
	u.mustRun(t, mode, codex, "mcp", "add", "first", "--", "echo", "one")
	u.mustRun(t, mode, codex, "mcp", "add", "second", "--", "echo", "two")
	u.mustRun(t, mode, "sh", "-c", `echo '{"text":"line"}' >>"$CODEX_HOME/history.jsonl"; mkdir -p "$CODEX_HOME/memories"; echo note >"$CODEX_HOME/memories/note.md"; echo agents >"$CODEX_HOME/AGENTS.md"`)
	plain := runCommand(t, u.command(t, environ, codex, "mcp", "list"))
	inside := u.mustRun(t, mode, codex, "mcp", "list")
	for where, list := range map[string]string{"plain Codex": plain.stdout, "Codex in a run": inside} {
		if !strings.Contains(list, "first") || !strings.Contains(list, "second") {
			t.Errorf("%s knows of the servers\n%s", where, list)
		}
	}
	for name, want := range map[string]string{
		"config.toml": "[mcp_servers.second]", "history.jsonl": "line", "memories/note.md": "note", "AGENTS.md": "agents",
	} {
		path := filepath.Join(u.f.codexHome, name)
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s is no file: %v", name, err)
		} else if got := readFile(t, path); !strings.Contains(got, want) {
			t.Errorf("%s holds %q, want %q in it", name, got, want)
		}
	}
	if got := readFile(t, filepath.Join(u.f.codexHome, "auth.json")); !strings.Contains(got, u.f.login.Current().AccessToken) {
		t.Error("auth.json is not the log-in any more")
	}
	for _, name := range u.files(t) {
		if strings.Contains(name, "from-run") || strings.Contains(name, "agentproxy") || slices.Contains(daemonFiles, name) {
			t.Errorf("%s was left in the home", name)
		}
	}
}

// TestRunCodexSandbox has Codex's own sandbox run a command within a run.
func TestRunCodexSandbox(t *testing.T) {
	t.Parallel()
	for _, version := range runVersions {
		for _, mode := range []string{"always", "off"} {
			t.Run(version.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				u := newRunUser(t, fixtureConfig{}, runHome{})
				codex := u.codex(t, version.path)
				outside := filepath.Join(u.dir, "home", "outside")
				script := fmt.Sprintf("echo inside; echo x 2>&- >%s || echo refused", quote(outside))
				args := append(append([]string{codex}, version.sandbox...), "sh", "-c", script)
				r := u.run(t, mode, args...)
				if r.code != 0 || r.stdout != "inside\nrefused\n" || readFile(t, outside) != "" {
					t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
				}
			})
		}
	}
}
