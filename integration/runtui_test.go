//go:build linux

package integration

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// tuiVersions are the versions of Codex whose user interface is tried: both can
// leave a server in the background.
var tuiVersions = []struct{ name, path string }{
	{"0.169", "codex-0.169/vendor/x86_64-unknown-linux-musl/bin/codex"},
	{"0.171", "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex"},
}

// daemonFiles are what Codex's server in the background has in a home.
var daemonFiles = []string{"packages", "app-server-control", "app-server-daemon"}

// TestRunTerminal uses Codex's own interface in a terminal, from a home that has
// nothing but a log-in: it is stopped and continued, made smaller, and leaves nothing
// but its session, which Codex goes on with.
func TestRunTerminal(t *testing.T) {
	t.Parallel()
	for _, version := range tuiVersions {
		for _, mode := range []string{"always", "off"} {
			t.Run(version.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{})
				codex := u.codex(t, version.path)
				id := useTerminal(t, u, codex, mode, "the first thing")
				for _, name := range daemonFiles {
					if slices.Contains(u.files(t), name) {
						t.Errorf("%s is in the home", name)
					}
				}
				goesOn(t, u, codex, id, "the first thing")
			})
		}
	}
}

// TestRunTerminalBesideServer does the same where a server of plain Codex runs in
// the background, which every interface that uses the home would leave its work to.
func TestRunTerminalBesideServer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"always", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{})
			codex := u.codex(t, tuiVersions[1].path)
			environ := u.serve(t)
			t.Cleanup(func() { // their connections would keep the proxy
				eventually(t, "the end of Codex's servers", func() bool { return u.kill(t, servers(u.processes(t))) == 0 })
			})
			w := openWindow(t, u, environ)
			w.types(t, "clear; "+codex)
			w.starts(t)
			w.enters(t, "say it outside", codexReply)
			w.enters(t, "/quit", "To reconnect", "To continue")
			w.awaitPrompt(t)
			u.f.backend.ResetRequests()
			before := servers(u.processes(t))
			if len(before) == 0 {
				t.Fatal("plain Codex has left no server: this test is of no use")
			}
			useTerminal(t, u, codex, mode, "say it inside")
			if after := servers(u.processes(t)); !maps.Equal(before, after) {
				t.Errorf("the servers were %v, and are %v", before, after)
			}
		})
	}
}

// servers returns those of processes that are Codex's servers.
func servers(processes map[string]string) map[string]string {
	found := maps.Clone(processes)
	maps.DeleteFunc(found, func(_, line string) bool { return !strings.Contains(line, "app-server") })
	return found
}

var resumeID = regexp.MustCompile(`codex resume ([0-9a-f-]{36})`)

// starts waits until Codex's interface asks what to do.
func (w *window) starts(t *testing.T) {
	t.Helper()
	w.awaitAny(t, "OpenAI Codex (v", "Yes, continue")
	if strings.Contains(w.screen(t), "Yes, continue") {
		w.keys(t, "Enter")
	}
	w.awaitAny(t, "? for shortcuts", "context left", "Ask Codex")
}

// useTerminal uses the interface within agentproxy run, and returns the session's id.
func useTerminal(t *testing.T, u *runUser, codex, mode, prompt string) (id string) {
	t.Helper()
	w := openWindow(t, u, u.env)
	line := u.binary + " " + strings.Join(u.runArgs(mode, codex), " ")
	w.types(t, "clear; "+line)
	w.starts(t)
	w.enters(t, prompt, codexReply)
	turns := u.turnsOfOpenSession(t, prompt)
	if len(turns) == 0 {
		t.Errorf("no turn with %q reached the backend", prompt)
	}
	w.enters(t, "/status", "Session:", "Session ID")
	w.keys(t, "C-z")
	w.awaitAny(t, "Stopped")
	w.awaitPrompt(t)
	w.types(t, "clear; fg")
	w.starts(t)
	w.do(t, "resize-window", "-x", "90", "-y", "30")
	w.enters(t, "and "+prompt, "› and "+prompt)
	eventually(t, "the second turn", func() bool { return len(u.turnsOfOpenSession(t, "and "+prompt)) > 0 })
	if shown := w.screen(t); strings.Contains(shown, "agentproxy: ") {
		t.Errorf("a line of ours is on the screen:\n%s", shown)
	}
	w.enters(t, "/quit", "codex resume")
	w.awaitPrompt(t)
	m := resumeID.FindStringSubmatch(strings.ReplaceAll(w.screen(t), "\n", " "))
	if m == nil {
		t.Fatalf("Codex does not say how to go on:\n%s", w.screen(t))
	}
	w.types(t, "exit")
	eventually(t, "no process of the run", func() bool {
		for _, line := range u.processes(t) {
			if strings.Contains(line, u.binary+" run") || strings.Contains(line, codex) {
				return false
			}
		}
		return true
	})
	if left, _ := filepath.Glob(filepath.Join(u.f.stateDir, "run", "*")); len(left) > 0 {
		t.Errorf("the run has left %v", left)
	}
	u.f.backend.ResetRequests()
	return m[1]
}

// turnsOfOpenSession returns the signed turns with text, of connections that are
// still open.
func (u *runUser) turnsOfOpenSession(t *testing.T, text string) (turns []chatgpttest.Request) {
	t.Helper()
	for _, r := range u.f.backend.Requests() {
		if r.Path != "/backend-api/codex/responses" || !slices.ContainsFunc(r.Messages, func(m []byte) bool { return strings.Contains(string(m), text) }) {
			continue
		}
		if !r.Auth.OK || r.Auth.Scheme != chatgpttest.SchemeAgentAssertion {
			t.Errorf("a turn came with %q: %s", r.Auth.Scheme, r.Auth.Reason)
		}
		turns = append(turns, r)
	}
	return turns
}

// goesOn has plain Codex, and one in a run, go on with the session of that id, which
// is the last one, and in which first was said.
func goesOn(t *testing.T, u *runUser, codex, id, first string) {
	t.Helper()
	environ := u.serve(t)
	for i, session := range []string{id, "--last"} {
		args := append([]string{codex, "exec", "--skip-git-repo-check"}, codexQuiet...)
		args = append(args, "resume", session, fmt.Sprintf("and then %d", i))
		plain := runCommand(t, u.command(t, environ, args[0], args[1:]...))
		checkGoesOn(t, u, "plain Codex, "+session, plain, first)
		for _, mode := range []string{"always", "off"} {
			checkGoesOn(t, u, "--isolate "+mode+", "+session, u.run(t, mode, args...), first)
		}
	}
}

func checkGoesOn(t *testing.T, u *runUser, what string, r result, first string) {
	t.Helper()
	if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
		t.Fatalf("%s: exit code %d\n%s%s", what, r.code, r.stdout, r.stderr)
	}
	turns := u.turns(t)
	if len(turns) != 1 || !strings.Contains(turns[0], first) {
		t.Errorf("%s: %d turns; it does not go on with %q", what, len(turns), first)
	}
}
