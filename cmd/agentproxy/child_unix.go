//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// runChild runs child to its end, passing signals on to it, and returns its exit
// code as an exitError unless that is 0.
func runChild(child *exec.Cmd) error {
	// A signal from the terminal goes to the whole foreground process group,
	// the child included: it must not get it twice.
	fromTerminal := map[os.Signal]bool{}
	if isTerminal(child.Stdin) {
		fromTerminal[syscall.SIGINT] = true
		fromTerminal[syscall.SIGQUIT] = true
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)

	// Should this process be killed, the child dies with it where the system
	// can do that. It then counts as the child of the thread that started it.
	setParentDeathSignal(child)
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := child.Start()
		started <- err
		if err == nil {
			ended <- child.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	for {
		select {
		case s := <-signals:
			if !fromTerminal[s] && s != syscall.SIGWINCH {
				_ = child.Process.Signal(s)
			}
		case err := <-ended:
			return exitStatus(err)
		}
	}
}

// signalExitCode is the code that shells give a process that a signal ended.
func signalExitCode(exit *exec.ExitError) int {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exitFailed
}
