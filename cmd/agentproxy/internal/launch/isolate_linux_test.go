package launch

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// testView is a view of directories that a test has made.
func testView(t *testing.T) (view View, home string) {
	t.Helper()
	dir := t.TempDir()
	home, state := filepath.Join(dir, "home"), filepath.Join(dir, "state")
	for _, dir := range []string{home, state} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	auth := filepath.Join(home, "auth.json")
	write(t, auth, "secret")
	return View{
		Dir: state, Files: map[string][]byte{"shown": []byte("placeholder\n")},
		Show: map[string]string{auth: "shown"}, Guard: home,
		System: map[string][]byte{"agentproxy-test": []byte("of the system\n")},
	}, home
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace puts another file in the place of the one at path, as a program outside
// does.
func replace(t *testing.T, path, content string) {
	t.Helper()
	draft := filepath.Join(t.TempDir(), "draft")
	write(t, draft, content)
	if err := os.Rename(draft, path); err != nil {
		t.Fatal(err)
	}
}

// shell is a shell that runs isolated, and answers the lines that it is given.
type shell struct {
	t         *testing.T
	isolation *Isolation
	stdin     io.WriteCloser
	stdout    *bufio.Reader
	ended     chan error
	events    chan Event
}

// startShell starts a shell with a view.
func startShell(t *testing.T, view View) *shell {
	t.Helper()
	return startShellIn(t, view, true)
}

// startShellIn is startShell, with a PID namespace or without.
func startShellIn(t *testing.T, view View, pids bool) *shell {
	t.Helper()
	stdin, toShell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromShell, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, stdin: toShell, stdout: bufio.NewReader(fromShell), ended: make(chan error, 1), events: make(chan Event, 100)}
	s.isolation, err = startIn(Command{Stdin: stdin, Stdout: stdout, Stderr: os.Stderr}, false, pids, func(e Event) { s.events <- e })
	if err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	stdout.Close()
	if err := s.isolation.Exec(Command{Path: "/bin/sh", Args: []string{"sh"}, Env: []string{"PATH=/usr/bin:/bin"}}, view); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.isolation.Wait() }()
	t.Cleanup(func() {
		toShell.Close()
		select {
		case <-s.ended:
		case <-time.After(2 * time.Minute):
			t.Error("the shell does not end")
		}
		fromShell.Close()
	})
	return s
}

// does runs a line and returns what it prints.
func (s *shell) does(line string) string {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.stdin, "{ %s ; } 2>&1; echo; echo =done=\n", line); err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for {
		line, err := s.stdout.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the shell is gone: %v", err)
		}
		if line == "=done=\n" {
			return strings.TrimSuffix(all.String(), "\n")
		}
		all.WriteString(line)
	}
}

// becomes waits until a line prints want.
func (s *shell) becomes(line, want string) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	got := s.does(line)
	for ; got != want && time.Now().Before(deadline); got = s.does(line) {
	}
	if got != want {
		s.t.Errorf("%s prints %q, want %q", line, got, want)
	}
}

func TestIsolated(t *testing.T) {
	view, home := testView(t)
	hidden, copied := filepath.Join(t.TempDir(), "token"), filepath.Join(home, "hidden")
	write(t, hidden, "secret")
	if err := os.Mkdir(copied, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(copied, "inner"), "secret")
	write(t, filepath.Join(view.Dir, "identity.json"), "secret")
	view.HideFiles, view.HideDirs = []string{hidden, "/etc/passwd"}, []string{copied}
	s := startShell(t, view)
	auth, new := home+"/auth.json", home+"/new"
	for _, test := range []struct{ line, want string }{
		{"cat " + auth, "placeholder\n"},
		{"cat " + hidden, ""},
		{"ls " + copied, ""},
		{"ls " + view.Dir, "shown\n"},
		{"cat /etc/agentproxy-test", "of the system\n"},
		{"cat /etc/passwd", ""}, // below what is laid over /etc
		{"echo of the command > " + new + "; cat " + new, "of the command\n"},
		{"test -w " + auth + " || echo read-only", "read-only\n"},
		{"mv -f " + new + " " + auth + " 2>/dev/null || echo held", "held\n"},
		{"rm -f " + auth + " 2>/dev/null || echo held", "held\n"},
		{"grep NoNewPrivs /proc/self/status | cut -f 2", "1\n"},
	} {
		if got := s.does(test.line); got != test.want {
			t.Errorf("%s prints %q, want %q", test.line, got, test.want)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(home, "auth.json")); err != nil || string(raw) != "secret" {
		t.Errorf("outside auth.json is %q, %v", raw, err)
	}
}

// TestGuard has programs outside replace what is covered.
func TestGuard(t *testing.T) {
	view, home := testView(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	token, later := filepath.Join(elsewhere, "token"), filepath.Join(elsewhere, "later")
	write(t, token, "secret")
	view.HideFiles, view.HideLater = []string{token}, []string{later, filepath.Join(elsewhere, "socket")}
	s := startShell(t, view)
	auth := filepath.Join(home, "auth.json")
	for range 3 {
		replace(t, auth, "another secret")
		s.becomes("cat "+auth, "placeholder\n")
		if e := <-s.events; e != LoginReplaced {
			t.Errorf("event %v, want that the log-in was replaced", e)
		}
	}
	replace(t, token, "another secret")
	s.becomes("cat "+token, "")
	replace(t, filepath.Join(home, "auth.json.bak"), "a copy")
	s.becomes("cat "+home+"/auth.json.bak", "")
	if err := os.Mkdir(later, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(later, "socket"), "")
	s.becomes("ls "+later, "")
	write(t, filepath.Join(elsewhere, "socket"), "x")
	s.becomes("cat "+elsewhere+"/socket", "")
}

// TestGuardOfDraft: a cover moves along with what it lies on, and the wrong one may
// come to lie on the log-in.
func TestGuardOfDraft(t *testing.T) {
	view, home := testView(t)
	s := startShell(t, view)
	auth, draft := filepath.Join(home, "auth.json"), filepath.Join(home, ".auth.json42")
	write(t, draft, "another secret")
	s.becomes("cat "+draft, "")
	if err := os.Rename(draft, auth); err != nil {
		t.Fatal(err)
	}
	s.becomes("cat "+auth, "placeholder\n")
}

// TestGuardOverflow has more happen than the kernel tells.
func TestGuardOverflow(t *testing.T) {
	raw, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	var most int
	if _, err := fmt.Sscan(string(raw), &most); err != nil {
		t.Fatal(err)
	}
	view, home := testView(t)
	s := startShell(t, view)
	first := s.isolation.init.Process
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(home, "noise")
	for range most/2 + 1000 {
		write(t, name, "")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	auth := filepath.Join(home, "auth.json")
	replace(t, auth, "another secret")
	if err := first.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.becomes("cat "+auth, "placeholder\n")
}

// TestGuardFails: the command does not go on if nothing could be covered any more.
func TestGuardFails(t *testing.T) {
	view, home := testView(t)
	s := startShell(t, view)
	for i := range maxLaid + 1 {
		if os.WriteFile(fmt.Sprintf("%s/auth.json-%d", home, i), nil, 0o600) != nil {
			t.Fatal("cannot write")
		}
	}
	select {
	case err := <-s.ended:
		s.ended <- err
		if code, ok := errors.AsType[cli.ExitError](err); !ok || code != 128+cli.ExitError(syscall.SIGKILL) {
			t.Errorf("the command ended with %v", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the command goes on")
	}
	if e := <-s.events; e != LoginUnguarded {
		t.Errorf("event %v, want that nothing is guarded", e)
	}
}

// TestFirstProcessKilled: where it can be, nothing goes on without it.
func TestFirstProcessKilled(t *testing.T) {
	view, home := testView(t)
	s := startShellIn(t, view, false)
	if got := s.does("cat " + home + "/auth.json"); got != "placeholder\n" {
		t.Errorf("auth.json is %q", got)
	}
	if _, err := fmt.Fprintln(s.stdin, "kill -KILL $PPID; trap '' TERM; while :; do sleep 0.01; done"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(s.stdout); err != nil || len(rest) > 0 {
		t.Errorf("the shell says %q, %v", rest, err)
	}
	err := <-s.ended
	s.ended <- err
	if code, ok := errors.AsType[cli.ExitError](err); !ok || code != 128+cli.ExitError(syscall.SIGKILL) {
		t.Errorf("the run ended with %v", err)
	}
}

func TestPin(t *testing.T) {
	view, home := testView(t)
	view.Pin = []string{filepath.Dir(home), home}
	s := startShell(t, view)
	for _, dir := range view.Pin {
		if got := s.does("mv " + dir + " " + dir + "-moved"); !strings.Contains(got, "busy") {
			t.Errorf("%s can be renamed: %q", dir, got)
		}
	}
	s.becomes("cat "+home+"/auth.json", "placeholder\n")
	if got := s.does("echo x > " + home + "/file && mv " + home + "/file " + home + "/other && cat " + home + "/other"); got != "x\n" {
		t.Errorf("in it: %q", got)
	}
}

// TestStreams: what is open needs no path.
func TestStreams(t *testing.T) {
	view, home := testView(t)
	open := func(path string) *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	if _, err := Start(Command{Stdin: open(home)}, false, nil); err == nil || errors.Is(err, ErrUnsupported) {
		t.Errorf("a directory for standard input: %v", err)
	}
	for _, c := range []Command{
		{Stdin: open(filepath.Join(home, "auth.json"))},
		{Stdout: open(filepath.Join(home, "auth.json"))},
	} {
		i, err := Start(c, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := i.Exec(Command{Path: "/bin/cat", Args: []string{"cat"}}, view); err == nil || errors.Is(err, ErrUnsupported) {
			t.Errorf("the log-in for a stream: %v", err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	plain := filepath.Join(t.TempDir(), "plain")
	write(t, plain, "of the user")
	var out bytes.Buffer
	i, err := Start(Command{Stdin: open(plain), Stdout: &out}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Exec(Command{Path: "/bin/cat", Args: []string{"cat"}}, view); err != nil {
		t.Fatal(err)
	}
	if err := i.Wait(); err != nil || out.String() != "of the user" {
		t.Errorf("%q, %v", &out, err)
	}
}

// TestInherited looks at the descriptors that a command keeps.
func TestInherited(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	// None of these is closed when another program is executed.
	opened := map[string]int{"pipe": pipe[0], "other end": pipe[1]}
	for name, path := range map[string]string{"directory": dir, "file": filepath.Join(dir, "file"), "null": "/dev/null", "namespace": "/proc/self/ns/mnt"} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		opened[name] = fd
	}
	fd, err := unix.MemfdCreate("memory", 0)
	if err != nil {
		t.Fatal(err)
	}
	opened["memory"] = fd
	// Last, so that nothing that is kept has a higher number.
	fd, err = unix.Open(dir, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 400); err != nil {
		t.Fatal(err)
	}
	opened["path"] = fd
	files, err := inherited(false)
	if err != nil {
		t.Fatal(err)
	}
	for name, fd := range opened {
		// What lies beyond the list is inherited as it is.
		if fd-3 >= len(files) {
			t.Errorf("%s is not in the list", name)
			continue
		}
		kept := files[fd-3] != nil
		if kept {
			if err := files[fd-3].Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// It is still the one that this process has.
		if err := unix.Close(fd); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := name == "pipe" || name == "other end" || name == "null"; kept != want {
			t.Errorf("%s is kept: %v", name, kept)
		}
	}
}

// TestInheritedSockets: with a network of its own a command gets none of another's.
func TestInheritedSockets(t *testing.T) {
	for _, test := range []struct {
		name     string
		domain   int
		isolated bool // whether a command with a network of its own keeps it
	}{{"internet", unix.AF_INET, false}, {"IPv6", unix.AF_INET6, false}, {"this machine's", unix.AF_UNIX, true}} {
		fd, err := unix.Socket(test.domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !leadsNowhere(fd, false) || leadsNowhere(fd, true) != test.isolated {
			t.Errorf("%s: kept %v, with a network of its own %v", test.name, leadsNowhere(fd, false), leadsNowhere(fd, true))
		}
		unix.Close(fd)
	}
}
