package launch

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// awaitKilled fails the test unless the shell's command is killed because nothing
// could be guarded any more.
func (s *shell) awaitKilled() {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		if code, ok := errors.AsType[cli.ExitError](err); !ok || code != 128+cli.ExitError(syscall.SIGKILL) {
			s.t.Errorf("the command ended with %v", err)
		}
	case <-time.After(2 * time.Minute):
		s.t.Fatal("the command goes on")
	}
	if e := <-s.events; e != LoginUnguarded {
		s.t.Errorf("event %v, want that nothing is guarded", e)
	}
}

// TestGuardOfReplacedHome: who moves the Codex home away and logs in anew takes the
// watch along.
func TestGuardOfReplacedHome(t *testing.T) {
	view, home := testView(t)
	s := startShell(t, view)
	if err := os.Rename(home, home+".bak"); err != nil {
		t.Fatal(err)
	}
	s.awaitKilled()
}

// TestGuardOfLink has auth.json be a link that leads elsewhere by and by, as those who
// switch accounts have it.
func TestGuardOfLink(t *testing.T) {
	view, home := testView(t)
	auth, first, second := filepath.Join(home, "auth.json"), filepath.Join(home, "first.json"), filepath.Join(home, "second.json")
	write(t, first, "secret")
	write(t, second, "another secret")
	if err := errors.Join(os.Remove(auth), os.Symlink(first, auth)); err != nil {
		t.Fatal(err)
	}
	view.Show[first] = view.Show[auth]
	s := startShell(t, view)
	if got := s.does("cat " + auth); got != "placeholder\n" {
		t.Errorf("auth.json is %q", got)
	}
	link := filepath.Join(home, "link")
	if err := errors.Join(os.Symlink(second, link), os.Rename(link, auth)); err != nil {
		t.Fatal(err)
	}
	s.becomes("cat "+auth, "placeholder\n")
}

// TestBrokenIsNotUnsupported: a command must not have the next one run without
// isolation by what it leaves in the user's files.
func TestBrokenIsNotUnsupported(t *testing.T) {
	view, _ := testView(t)
	hidden := t.TempDir()
	inner := filepath.Join(hidden, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	view.HideDirs = []string{hidden}
	t.Chdir(inner)
	i, err := Start(Command{}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if err := i.Exec(Command{Path: "/bin/true", Args: []string{"true"}}, view); err == nil || errors.Is(err, ErrUnsupported) {
		t.Errorf("a working directory that is hidden: %v", err)
	}
}

// TestViewOfLinks: a link that leads above the log-in or the state directory hides
// neither of them by something that lies over both.
func TestViewOfLinks(t *testing.T) {
	dir := t.TempDir()
	home, state := filepath.Join(dir, "home"), filepath.Join(dir, "state")
	for _, dir := range []string{home, state} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(home, "auth.json"), "secret")
	write(t, filepath.Join(home, "auth.json.bak"), "secret")
	if err := os.Symlink(dir, filepath.Join(home, "auth.json.old")); err != nil {
		t.Fatal(err)
	}
	later := filepath.Join(dir, "later")
	secrets := Secrets{CodexHome: home, StateDir: state, Paths: []string{later}, Getenv: func(string) string { return "" }}
	view, err := secrets.View()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(view.HideDirs, dir) {
		t.Errorf("%s is hidden, and all that is in it", dir)
	}
	if !slices.Contains(view.HideFiles, filepath.Join(home, "auth.json.bak")) || !slices.Contains(view.HideLater, later) {
		t.Errorf("not all is hidden: %v, later %v", view.HideFiles, view.HideLater)
	}
	secrets.Paths = []string{dir}
	if _, err := secrets.View(); err == nil || errors.Is(err, ErrUnsupported) {
		t.Errorf("a directory that holds the Codex home: %v", err)
	}
}
