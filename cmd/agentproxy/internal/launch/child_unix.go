//go:build unix

package launch

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// forwarded are the signals that a run passes on to its command.
var forwarded = [...]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// notifyForwarded relays forwarded signals to c, but for those that this process was started
// to ignore, as by nohup(1): the command ignores them, too.
func notifyForwarded(c chan<- os.Signal) {
	for _, s := range forwarded {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
}

// fromTerminal reports whether a signal may be from the terminal, which sends it to all
// processes in the foreground: the command must not get it twice.
func fromTerminal(s syscall.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false // there is none
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

// Run runs command to its end, passing signals on to it. The error is an
// [cli.ExitError] if it did not succeed, or a [*StartError].
func Run(command Command) error {
	signals := make(chan os.Signal, 16)
	notifyForwarded(signals)
	defer signal.Stop(signals)
	child := childOf(command)
	release, err := adoptOrphans()
	if err != nil {
		return err
	}
	defer release()

	// On Linux the child ends if this process is killed. For that it counts as the child of
	// the thread that started it.
	setParentDeathSignal(child)
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := child.Start()
		if errors.Is(err, syscall.ENOEXEC) {
			// A script without an interpreter: execvp(3) does the same.
			command.Args = append([]string{"sh", command.Path}, command.Args[1:]...)
			command.Path = "/bin/sh"
			child = childOf(command)
			setParentDeathSignal(child)
			err = child.Start()
		}
		started <- err
		if err == nil {
			ended <- child.Wait()
		}
	}()
	if err := <-started; err != nil {
		return &StartError{cli.SyscallError(err)}
	}
	for {
		select {
		case s := <-signals:
			if s, ok := s.(syscall.Signal); ok && !fromTerminal(s) {
				_ = child.Process.Signal(s)
			}
		case err := <-ended:
			return exitStatus(err)
		}
	}
}

// exitStatus returns the end of a child as a [cli.ExitError].
func exitStatus(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return cli.ExitError(128 + int(status.Signal()))
	}
	return cli.ExitError(exit.ExitCode())
}
