//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// runModes are the modes of run that every machine that tests has.
var runModes = []string{"always", "net", "off"}

// TestRunCannotStart has commands that cannot be run, which end as by env(1).
func TestRunCannotStart(t *testing.T) {
	t.Parallel()
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			for name, content := range map[string]string{
				"no-interpreter": "#!/nowhere/interpreter\n", "no-shebang": "echo \"$0: $1\"\n", "garbage": "\x7fELFgarbage",
			} {
				writeProgram(t, filepath.Join(u.work, name), content)
			}
			writeFile(t, filepath.Join(u.work, "not-executable"), []byte("#!/bin/sh\n"))
			giveTo(t, u.work, u.uid)
			for _, test := range []struct {
				command string
				code    int
				says    string
			}{
				{"no-such-program", 127, "no-such-program"},
				{"./no-such-program", 127, "no-such-program"},
				{"./not-executable", 126, "not-executable"},
				{u.work, 126, u.work},
				{"./no-interpreter", 127, "no-interpreter"},
			} {
				r := u.run(t, mode, test.command)
				if r.code != test.code || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, test.says) {
					t.Errorf("%s: exit code %d, want %d, and one line\n%s%s", test.command, r.code, test.code, r.stdout, r.stderr)
				}
			}
			if r := u.run(t, mode, "./no-shebang", "an argument"); r.code != 0 || !strings.HasSuffix(strings.TrimSpace(r.stdout), "no-shebang: an argument") {
				t.Errorf("a script without an interpreter: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
			if r := u.run(t, mode, "./garbage"); r.code != 126 && r.code != 127 && r.code != 2 {
				t.Errorf("garbage: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
}

// TestRunEndsWithCommand has a command leave programs behind, in sessions of their own:
// they end with it. So they do when the run is killed.
func TestRunEndsWithCommand(t *testing.T) {
	t.Parallel()
	const leave = `setsid sh -c 'trap "" HUP; echo $$ >left; exec sleep 1000' & while ! [ -s left ]; do sleep 0.01; done; `
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			u.mustRun(t, mode, "sh", "-c", leave+"exit 0")
			if left := u.processes(t); len(left) > 0 {
				t.Errorf("the command has left %v", left)
			}
			cmd := u.runCommand(t, mode, "sh", "-c", `rm left; `+leave+"echo ready; cat")
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
				t.Fatalf("the command said %q, %v", line, err)
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if mode == "off" { // what has left the command's session is nobody's then
				return
			}
			eventually(t, "no process of a killed run", func() bool { return len(u.processes(t)) == 0 })
		})
	}
}

// TestRunStops stops and continues a command, and has it ignore what nohup(1) does.
func TestRunStops(t *testing.T) {
	t.Parallel()
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			w := openWindow(t, u, u.env)
			line := u.binary + " " + strings.Join(u.runArgs(mode), " ")
			w.types(t, "clear; "+line+` sh -c "echo be''gun; sed -u s/^/got-/; echo over"`)
			w.awaitAny(t, "begun")
			w.keys(t, "C-z")
			w.awaitAny(t, "Stopped")
			w.awaitPrompt(t)
			w.types(t, "clear; fg")
			w.awaitAny(t, "sed -u")
			// What is typed before the command has the terminal is nobody's line.
			eventually(t, "an answer of the continued command", func() bool {
				w.types(t, "still there")
				return strings.Contains(w.screen(t), "got-still there")
			})
			w.keys(t, "C-c")
			w.awaitPrompt(t)
			w.types(t, "echo code $?")
			w.awaitAny(t, "code 130")

			// The terminal is closed: it hears of that, from the kernel and from the shell,
			// and ends as it sees fit.
			heard := filepath.Join(u.work, "heard")
			w.types(t, "clear; "+line+fmt.Sprintf(` bash -c 'trap "echo HUP >>%s; exit" HUP; echo beg""un anew; while :; do read -t 1 line; done'`, heard))
			w.awaitAny(t, "begun anew")
			w.do(t, "kill-server")
			eventually(t, "the end of the run", func() bool { return len(u.processes(t)) == 0 })
			if got := readFile(t, heard); !strings.HasPrefix(got, "HUP\n") {
				t.Errorf("the command heard %q", got)
			}
		})
	}
}

// TestRunIgnoresHangup has a run be started as by nohup(1).
func TestRunIgnoresHangup(t *testing.T) {
	t.Parallel()
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			argv := append([]string{"-c", `trap "" HUP; exec "$@"`, "sh", u.binary}, u.runArgs(mode, "sh", "-c", `grep SigIgn /proc/self/status; cat; echo over`)...)
			cmd := u.command(t, u.env, "/bin/sh", argv...)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			lines.Scan()
			ignored, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(lines.Text(), "SigIgn:")), 16, 64)
			if err != nil || ignored&(1<<(syscall.SIGHUP-1)) == 0 {
				t.Errorf("the command ignores %q, %v; want HUP among them", lines.Text(), err)
			}
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			stdin.Close()
			lines.Scan()
			if err := cmd.Wait(); err != nil || lines.Text() != "over" {
				t.Errorf("the command said %q, %v", lines.Text(), err)
			}
		})
	}
}
