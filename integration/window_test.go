//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A window is a shell in a window of tmux, which a user types into.
type window struct {
	u      *runUser
	socket string
	prompt string
}

// openWindow opens a window for the user.
func openWindow(t *testing.T, u *runUser, environ []string) *window {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "window-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	giveTo(t, dir, u.uid)
	w := &window{u, filepath.Join(dir, "s"), "ready>"}
	t.Cleanup(func() {
		_ = u.command(t, u.env, systemProgram(t, "tmux"), "-S", w.socket, "kill-server").Run()
		os.RemoveAll(dir)
	})
	cmd := u.command(t, environ, systemProgram(t, "tmux"), "-S", w.socket, "-f", "/dev/null",
		"new-session", "-d", "-x", "120", "-y", "40", "env", "PS1="+w.prompt+" ", "bash", "--norc", "--noprofile", "-i")
	if r := runCommand(t, cmd); r.code != 0 {
		t.Fatalf("tmux: %s%s", r.stdout, r.stderr)
	}
	w.awaitPrompt(t)
	return w
}

// do has tmux do something.
func (w *window) do(t *testing.T, args ...string) string {
	t.Helper()
	r := runCommand(t, w.u.command(t, w.u.env, systemProgram(t, "tmux"), append([]string{"-S", w.socket}, args...)...))
	if r.code != 0 {
		t.Fatalf("tmux %s: %s%s", args, r.stdout, r.stderr)
	}
	return r.stdout
}

// screen returns what is shown, without empty lines and with long lines joined.
func (w *window) screen(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(blankLines.ReplaceAllString(w.do(t, "capture-pane", "-p", "-J"), "\n"))
}

var blankLines = regexp.MustCompile(`\n(\s*\n)+`)

// awaitAny waits until one of texts is shown, and returns it.
func (w *window) awaitAny(t *testing.T, texts ...string) (found string) {
	t.Helper()
	last := ""
	defer func() {
		if found == "" {
			t.Logf("the window, in which %q was waited for:\n%s", texts, last)
		}
	}()
	eventually(t, strings.Join(texts, " or ")+" in the window", func() bool {
		last = w.screen(t)
		for _, text := range texts {
			if strings.Contains(last, text) {
				found = text
				return true
			}
		}
		return false
	})
	return found
}

// awaitPrompt waits until the shell asks for a command.
func (w *window) awaitPrompt(t *testing.T) {
	t.Helper()
	last := ""
	ok := false
	defer func() {
		if !ok {
			t.Logf("the window, which shows no prompt:\n%s", last)
		}
	}()
	eventually(t, "the shell's prompt", func() bool {
		last = w.screen(t)
		ok = strings.HasSuffix(last, w.prompt)
		return ok
	})
}

// types types a line into the shell.
func (w *window) types(t *testing.T, line string) {
	t.Helper()
	w.do(t, "send-keys", "-l", line)
	w.do(t, "send-keys", "Enter")
}

// keys presses keys by their names.
func (w *window) keys(t *testing.T, names ...string) {
	t.Helper()
	w.do(t, append([]string{"send-keys"}, names...)...)
}

// enters pastes a line into Codex, for of what is typed as fast it takes the return key
// for a new line, and waits until one of texts is shown.
func (w *window) enters(t *testing.T, line string, texts ...string) {
	t.Helper()
	w.do(t, "set-buffer", line)
	w.do(t, "paste-buffer", "-p", "-d")
	w.awaitAny(t, line)
	w.keys(t, "Enter")
	w.awaitAny(t, texts...)
}
