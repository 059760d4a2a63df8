//go:build linux

package integration

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// A codexUser is somebody who uses Codex behind the proxy: a home with the
// placeholder in it, and a directory to work in.
type codexUser struct {
	*fixture
	program     string
	env         []string
	dir         string
	placeholder []string
}

// newCodexUser starts a proxy for a log-in that has no agent yet, as one has that
// codex login has made.
func newCodexUser(t *testing.T, program string, c fixtureConfig) *codexUser {
	t.Helper()
	c.backend.Reply, c.scope = codexReply, defaultScope
	return newLoginFixture(t, c).user(t, program)
}

// user starts the proxy, and returns a user of the Codex whose path is program.
func (f *fixture) user(t *testing.T, program string) *codexUser {
	t.Helper()
	p := f.serve(t)
	home, placeholder := codexHome(t, p)
	return &codexUser{f, program, append(p.env, "CODEX_HOME="+home), t.TempDir(), placeholder}
}

// command prepares a run of Codex in the user's directory.
func (u *codexUser) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, u.env, u.program, args...)
	cmd.Dir = u.dir
	return cmd
}

// run has Codex run to its end, which must be a good one.
func (u *codexUser) run(t *testing.T, args ...string) result {
	t.Helper()
	r := runCommand(t, u.command(t, args...))
	if r.code != 0 {
		t.Fatalf("codex %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

// turn is run for what asks the model and prints the answer.
func (u *codexUser) turn(t *testing.T, args ...string) result {
	t.Helper()
	r := u.run(t, args...)
	if !strings.Contains(r.stdout, codexReply) {
		t.Errorf("codex %s: said %q", strings.Join(args, " "), r.stdout)
	}
	return r
}

// git runs git in the user's directory.
func (u *codexUser) git(t *testing.T, args ...string) {
	t.Helper()
	cmd := command(t, append(baseEnv(t), "GIT_CONFIG_GLOBAL=/dev/null"), systemProgram(t, "git"),
		append([]string{"-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = u.dir
	if r := runCommand(t, cmd); r.code != 0 {
		t.Fatalf("git %s: %s%s", args, r.stdout, r.stderr)
	}
}

// lastTurn returns what the model was asked last.
func (u *codexUser) lastTurn(t *testing.T) string {
	t.Helper()
	last := ""
	for _, r := range u.backend.Requests() {
		if r.Path == "/backend-api/codex/responses" && len(r.Messages) > 0 {
			last = string(bytes.Join(r.Messages, nil))
		}
	}
	return last
}

var sessionID = regexp.MustCompile(`session id: ([0-9a-f-]{36})`)

// codexCommands are what a user does with Codex, each of which must work behind
// the proxy as it does directly.
var codexCommands = map[string]func(*testing.T, *codexUser){
	"exec": func(t *testing.T, u *codexUser) { u.turn(t, codexExec()...) },
	"resume": func(t *testing.T, u *codexUser) {
		exec := func(args ...string) string {
			r := u.turn(t, append([]string{"exec", "--skip-git-repo-check"}, args...)...)
			m := sessionID.FindStringSubmatch(r.stderr)
			if m == nil {
				t.Fatalf("codex names no session:\n%s", r.stderr)
			}
			return m[1]
		}
		alpha, beta := exec("the word is alpha"), exec("the word is beta")
		for _, test := range []struct{ name, want, id, word, other string }{
			{"--last", beta, "--last", "is beta", "is alpha"},
			{"by id", alpha, alpha, "is alpha", "is beta"},
		} {
			if got := exec("resume", test.id, "say it"); got != test.want {
				t.Errorf("%s resumed session %s, want %s", test.name, got, test.want)
			}
			if asked := u.lastTurn(t); !strings.Contains(asked, test.word) || strings.Contains(asked, test.other) {
				t.Errorf("%s: the model was not told that the word %s, or that it %s", test.name, test.word, test.other)
			}
		}
	},
	"image": func(t *testing.T, u *codexUser) {
		var picture bytes.Buffer
		if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(u.dir, "picture.png"), picture.Bytes())
		u.turn(t, "exec", "--skip-git-repo-check", "what is this", "-i", "picture.png")
		if !strings.Contains(u.lastTurn(t), `"input_image"`) {
			t.Error("the model got no picture")
		}
	},
	"review": func(t *testing.T, u *codexUser) {
		u.git(t, "init", "-q")
		u.git(t, "commit", "-q", "--allow-empty", "-m", "first")
		writeFile(t, filepath.Join(u.dir, "new.txt"), []byte("new\n"))
		u.turn(t, "review", "--uncommitted")
	},
	"cloud list": func(t *testing.T, u *codexUser) {
		if r := u.run(t, "cloud", "list"); !strings.Contains(r.stdout, chatgpttest.CloudTask) {
			t.Errorf("codex cloud list said %q", r.stdout)
		}
	},
	"login status": func(t *testing.T, u *codexUser) {
		u.turn(t, codexExec()...)
		if r := u.run(t, "login", "status"); !strings.Contains(r.stdout+r.stderr, "Logged in using ChatGPT") {
			t.Errorf("codex login status said %q", r.stdout+r.stderr)
		}
	},
	"doctor": func(t *testing.T, u *codexUser) {
		u.env = append(u.env, "TERM=xterm-256color") // older ones take offence at others
		r := u.run(t, "doctor")
		for _, want := range []string{"HTTP 101 Switching Protocols", "active provider endpoints are reachable", "0 fail"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("codex doctor does not say %q:\n%s", want, r.stdout)
			}
		}
	},
	"app-server": func(t *testing.T, u *codexUser) {
		s := startAppServer(t, u)
		var thread struct{ Thread struct{ ID string } }
		s.call(t, "thread/start", map[string]any{"cwd": u.dir}, &thread)
		s.call(t, "turn/start", map[string]any{
			"threadId": thread.Thread.ID, "input": []any{map[string]any{"type": "text", "text": "say hi"}},
		}, nil)
		if said := s.await(t, "turn/completed"); !strings.Contains(said, codexReply) {
			t.Errorf("the app server said\n%s", said)
		}
		s.stop(t)
	},
	"terminal": func(t *testing.T, u *codexUser) {
		terminal := startTerminal(t, u)
		terminal.await(t, " default · ") // the model, once it is known
		terminal.send(t, "say hi")
		terminal.await(t, codexReply)
		terminal.send(t, "/quit")
		terminal.awaitEnd(t)
	},
}

// TestCodexCommands has Codex of today do what it is used for.
func TestCodexCommands(t *testing.T) {
	t.Parallel()
	for _, version := range codexVersions[len(codexVersions)-2:] {
		for name, test := range codexCommands {
			t.Run(version.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				u := newCodexUser(t, npmProgram(t, version.path), fixtureConfig{})
				test(t, u)
				u.checkAsCodex(t, modeIdentity, u.placeholder)
			})
		}
	}
}

// mustReadFile returns a file that is part of the sources.
func mustReadFile(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return string(content)
}
