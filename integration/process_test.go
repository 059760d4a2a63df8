//go:build linux

package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clientTimeout bounds how long one client may run.
const clientTimeout = 5 * time.Minute

// result is what became of a client.
type result struct {
	stdout, stderr string
	code           int
}

// command prepares a program as the leader of a process group of its own, so
// that what it starts can be ended with it. The group is killed when the test
// ends or the time is over.
func command(t *testing.T, environ []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environ
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it runs yet
	cmd.WaitDelay = time.Minute
	t.Cleanup(func() {
		cancel()
		if cmd.Process == nil {
			return
		}
		_ = killGroup(cmd)
		if cmd.ProcessState == nil {
			_ = cmd.Wait()
		}
	})
	return cmd
}

// killGroup kills what is left of the group that cmd leads, or led.
func killGroup(cmd *exec.Cmd) error { return signalGroup(cmd, syscall.SIGKILL) }

// groupIsGone reports whether no process is left of the group that cmd led.
func groupIsGone(cmd *exec.Cmd) bool { return errors.Is(signalGroup(cmd, 0), syscall.ESRCH) }

// signalGroup signals a group, unless it is another's: the system gives the number of a
// group anew that nobody is in any more, and goes through all numbers in a minute or two
// while all tests run. Whoever has the number of a leader that has ended leads another.
func signalGroup(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.ProcessState != nil && syscall.Kill(cmd.Process.Pid, 0) == nil {
		return syscall.ESRCH
	}
	return syscall.Kill(-cmd.Process.Pid, sig)
}

// run runs a program to its end. Its standard input is empty.
func run(t *testing.T, environ []string, program string, args ...string) result {
	t.Helper()
	return runCommand(t, command(t, environ, program, args...))
}

// runCommand runs cmd to its end.
func runCommand(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// mustRun is run for a program that is expected to succeed. It returns what the
// program wrote to standard output.
func mustRun(t *testing.T, environ []string, program string, args ...string) string {
	t.Helper()
	r := run(t, environ, program, args...)
	if r.code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", program, strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// eventually waits until the condition holds. It looks for no more than a tenth of the
// time: many conditions start a program, or read all of what a backend got, and the
// processors are wanted for what is waited for.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	const least, most = 5 * time.Millisecond, 200 * time.Millisecond
	deadline := time.Now().Add(2 * time.Minute)
	for {
		begun := time.Now()
		if condition() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(min(max(least, 9*time.Since(begun)), most))
	}
}

// TestGroupOfAnother has a command's number be another's by the time that what is left of
// its group is to be killed.
func TestGroupOfAnother(t *testing.T) {
	t.Parallel()
	other := command(t, baseEnv(t), systemProgram(t, "sleep"), "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := command(t, baseEnv(t), systemProgram(t, "true"))
	if r := runCommand(t, ended); r.code != 0 {
		t.Fatal(r)
	}
	number := ended.Process
	ended.Process = other.Process // as if the system had given it anew
	defer func() { ended.Process = number }()
	if err := killGroup(ended); err == nil || !groupIsGone(ended) {
		t.Errorf("another's group is killed: %v", err)
	}
	if groupIsGone(other) {
		t.Error("the other command has ended")
	}

	// What a command has left in its group is killed.
	leaves := command(t, baseEnv(t), systemProgram(t, "sh"), "-c", "sleep 1000 >&- 2>&- &")
	ends, inherited, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ends.Close()
	leaves.ExtraFiles = []*os.File{inherited}
	r := runCommand(t, leaves)
	inherited.Close()
	if r.code != 0 || groupIsGone(leaves) {
		t.Fatal(r)
	}
	if err := killGroup(leaves); err != nil {
		t.Error(err)
	}
	// The group may stay: in a container nobody may be there who waits for those whose parents
	// have ended.
	_ = ends.SetReadDeadline(time.Now().Add(clientTimeout))
	if _, err := ends.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("what is left has not ended: %v", err)
	}
}
