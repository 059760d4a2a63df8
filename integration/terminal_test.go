//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A terminal is Codex's own user interface in a window of tmux.
type terminal struct {
	u    *codexUser
	tmux string // the path of tmux
	sock string
}

// startTerminal starts Codex in a directory that it trusts already.
func startTerminal(t *testing.T, u *codexUser) *terminal {
	t.Helper()
	home := ""
	for _, entry := range u.env {
		if value, ok := strings.CutPrefix(entry, "CODEX_HOME="); ok {
			home = value
		}
	}
	writeFile(t, filepath.Join(home, "config.toml"), fmt.Appendf(nil, "[projects.%q]\ntrust_level = \"trusted\"\n", u.dir))
	dir, err := os.MkdirTemp("/tmp", "tmux-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	w := &terminal{u: u, tmux: systemProgram(t, "tmux"), sock: filepath.Join(dir, "socket")}
	t.Cleanup(func() {
		_ = command(t, baseEnv(t), w.tmux, "-S", w.sock, "kill-server").Run() // which has ended by itself, mostly
		os.RemoveAll(dir)
	})
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", u.program}
	// Newer versions leave the work to a server in the background, which outlives them.
	if help := u.run(t, "--help"); strings.Contains(help.stdout, "--no-daemon") {
		args = append(args, "--no-daemon")
	}
	w.do(t, args...)
	return w
}

// do has tmux do something and returns what it prints.
func (w *terminal) do(t *testing.T, args ...string) string {
	t.Helper()
	cmd := w.u.command(t)
	cmd.Path, cmd.Args = w.tmux, append([]string{w.tmux, "-S", w.sock}, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	r := runCommand(t, cmd)
	if r.code != 0 {
		t.Fatalf("tmux %s: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// send types a line. What is typed at once with the return key counts as pasted.
func (w *terminal) send(t *testing.T, line string) {
	t.Helper()
	w.do(t, "send-keys", "-l", line)
	w.await(t, line)
	w.do(t, "send-keys", "Enter")
}

// await waits until the window shows text.
func (w *terminal) await(t *testing.T, text string) {
	t.Helper()
	last := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the terminal, waiting for %q:\n%s", text, emptyLines.ReplaceAllString(last, "\n"))
		}
	})
	eventually(t, fmt.Sprintf("%q in the terminal", text), func() bool {
		last = w.do(t, "capture-pane", "-p")
		return strings.Contains(last, text)
	})
}

var emptyLines = regexp.MustCompile(`\n\s*\n`)

// awaitEnd waits until Codex has ended, and tmux with it.
func (w *terminal) awaitEnd(t *testing.T) {
	t.Helper()
	eventually(t, "Codex's end", func() bool {
		cmd := command(t, baseEnv(t), w.tmux, "-S", w.sock, "list-sessions")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		return cmd.Run() != nil
	})
}
