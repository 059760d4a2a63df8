//go:build linux

package integration

import (
	"bufio"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// runArgs are the arguments of an agentproxy run.
func (f *fixture) runArgs(args ...string) []string {
	return append([]string{"run", "--config", f.config, "--"}, args...)
}

// checkNothingLeft fails the test if a run has left a file behind.
func (f *fixture) checkNothingLeft(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(f.stateDir, "run"))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // an isolated one needs no directory
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("agentproxy run has left %s", e.Name())
	}
}

func TestRunCodex(t *testing.T) {
	t.Parallel()
	for _, version := range codexVersions {
		t.Run(version.name, func(t *testing.T) {
			t.Parallel()
			codex := npmProgram(t, version.path)
			f := newFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
			cmd := command(t, baseEnv(t), agentproxy, f.runArgs(append([]string{codex}, codexExec(codexQuiet...)...)...)...)
			r := runCommand(t, cmd)
			if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
				t.Errorf("agentproxy run -- codex exec: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
			f.checkNothingLeft(t)
			eventually(t, "no process left", func() bool { return groupIsGone(cmd) })
		})
	}
}

// TestRunHidesSecrets looks at all that the child is given.
func TestRunHidesSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	writeFile(t, filepath.Join(f.codexHome, "config.toml"), []byte("# of the user\n"))
	auth := mustRun(t, baseEnv(t), agentproxy, f.runArgs("sh", "-c", `cat "$CODEX_HOME/auth.json"`)...)
	placeholderTokens(t, []byte(auth)) // it is one
	if !strings.Contains(auth, f.login.WorkspaceID) {
		t.Errorf("the placeholder does not name the account: %s", auth)
	}
	everything := mustRun(t, baseEnv(t), agentproxy, f.runArgs("sh", "-c", `env; cat "$CODEX_HOME"/* "$CODEX_HOME"/../* 2>/dev/null; true`)...)
	if !strings.Contains(everything, "# of the user") {
		t.Errorf("the child does not find the user's config.toml: %s", everything)
	}
	for where, text := range map[string]string{"the child's auth.json": auth, "what the child can see": everything} {
		f.checkNoSecret(t, where, text)
	}
	f.checkNothingLeft(t)
	if original := readFile(t, filepath.Join(f.codexHome, "auth.json")); !strings.Contains(original, f.login.AccessToken) {
		t.Error("the user's own auth.json has changed")
	}
}

// TestRunRegistersOneTask: its one client needs no other.
func TestRunRegistersOneTask(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{})
	mustRun(t, baseEnv(t), agentproxy, f.runArgs("curl", "-sSf", backendAPI+"/test/echo")...)
	if got := f.backend.Stats(); got.AgentRegistrations != 1 || got.TaskRegistrations != 1 {
		t.Errorf("%+v; want 1 agent and 1 task", got)
	}
}

func TestRunExitCode(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	for _, test := range []struct {
		script string
		code   int
	}{
		{"exit 0", 0},
		{"exit 7", 7},
		{"exit 255", 255},
		{"kill -KILL $$", 128 + int(syscall.SIGKILL)},
		{"kill -TERM $$", 128 + int(syscall.SIGTERM)},
	} {
		t.Run(test.script, func(t *testing.T) {
			r := run(t, baseEnv(t), agentproxy, f.runArgs("sh", "-c", test.script)...)
			if r.code != test.code || r.stdout+r.stderr != "" {
				t.Errorf("exit code %d, want %d\n%s%s", r.code, test.code, r.stdout, r.stderr)
			}
			f.checkNothingLeft(t)
		})
	}
}

// TestRunPassesSignals checks that the child gets a signal sent to agentproxy,
// and decides by itself how it ends.
func TestRunPassesSignals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	for name, sig := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1,
	} {
		t.Run(name, func(t *testing.T) {
			// KILL, for a process that is just about to be sleep may miss TERM.
			script := `trap 'kill -KILL $!; wait $!; echo got ` + name + `; exit 9' ` + name + `; sleep 60 >&- & echo ready; wait`
			cmd := command(t, baseEnv(t), agentproxy, f.runArgs("sh", "-c", script)...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			// The child would inherit that a signal is ignored, as nohup has it.
			caught := make(chan os.Signal, 1)
			signal.Notify(caught, sig)
			defer signal.Stop(caught)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "ready" {
				t.Fatalf("the child said %q, want ready", lines.Text())
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if !lines.Scan() || lines.Text() != "got "+name {
				t.Errorf("the child said %q, want got %s", lines.Text(), name)
			}
			for lines.Scan() {
				t.Errorf("the child also said %q", lines.Text())
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 9 {
				t.Errorf("exit code %d, want the child's own, 9", code)
			}
			eventually(t, "no process left", func() bool { return groupIsGone(cmd) })
			f.checkNothingLeft(t)
		})
	}
}
