//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// as prepares cmd to run as another user where this one is root, who may read
// everything: the user of the proxy.
func as(cmd *exec.Cmd, uid int) *exec.Cmd {
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	return cmd
}

// giveTo makes everything below dir uid's own, and dir reachable.
func giveTo(t *testing.T, dir string, uid int) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	for above := dir; above != filepath.Clean(os.TempDir()); above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&fs.ModeSticky != 0 || above == "/" {
			break // it is for everybody's files, as /tmp is where TMPDIR is elsewhere
		}
		if err := os.Chmod(above, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, uid, uid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsPrivate has a program of the proxy's own user try to read its
// memory and environment, as it can those of any other program: of serve, and of
// run, whose COMMAND is such a program. COMMAND itself is as usual.
func TestMemoryIsPrivate(t *testing.T) {
	t.Parallel()
	uid := os.Getuid()
	if uid == 0 {
		uid = nobody
	}
	f := newFixture(t, fixtureConfig{})
	dir := filepath.Dir(f.config)
	binary := copyProgram(t, dir)
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	giveTo(t, dir, uid)
	prepare := func(program string, args ...string) *exec.Cmd {
		cmd := as(command(t, []string{"PATH=" + systemPath, "HOME=" + home, "TERM=dumb"}, program, args...), uid)
		cmd.Dir = home
		return cmd
	}
	shell := systemProgram(t, "sh")

	// What the usual way of a thief reads of a process; 1 byte is enough.
	const steal = `for file in environ mem auxv maps; do if head -c 1 /proc/$PID/$file >/dev/null 2>&1; then echo $file; fi; done; true`
	stolen := func(pid int) string {
		return runCommand(t, prepare(shell, "-c", strings.ReplaceAll(steal, "$PID", fmt.Sprint(pid)))).stdout
	}
	usual := prepare(shell, "-c", "echo ready; exec sleep 60")
	startUntil(t, usual, "ready")
	if got := stolen(usual.Process.Pid); !strings.Contains(got, "environ") {
		t.Fatalf("of a usual program can be read: %q; the test is of no use", got)
	}

	serve := prepare(binary, "serve", "--config", f.config)
	startUntil(t, serve, "listening on")
	if got := stolen(serve.Process.Pid); got != "" {
		t.Errorf("of serve can be read: %q", got)
	}
	if limit := coreLimit(t, serve.Process.Pid); limit != "0 0" {
		t.Errorf("serve may dump %s bytes of core", limit)
	}

	r := runCommand(t, prepare(binary, "run", "--config", f.config, "--", "sh", "-c",
		"echo parent; "+strings.ReplaceAll(steal, "$PID", "$PPID")+"; echo self; head -c 1 /proc/$$/environ >/dev/null && echo environ; ulimit -S -c; ulimit -H -c"))
	plain := runCommand(t, prepare(shell, "-c", "ulimit -S -c; ulimit -H -c"))
	if want := "parent\nself\nenviron\n" + plain.stdout; r.code != 0 || r.stdout != want {
		t.Errorf("COMMAND saw, with exit code %d\n%s%swant\n%s", r.code, r.stdout, r.stderr, want)
	}
}

// startUntil starts a program and waits until it has printed a text.
func startUntil(t *testing.T, cmd *exec.Cmd, text string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&printed, lines.Text())
		if strings.Contains(lines.Text(), text) {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	t.Fatalf("%s did not say %q:\n%s", cmd, text, printed.String())
}

// coreLimit returns the soft and the hard limit of a process's core file.
func coreLimit(t *testing.T, pid int) string {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/limits", pid))) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			return strings.Join(strings.Fields(rest)[:2], " ")
		}
	}
	t.Fatal("no limit of core files")
	return ""
}
