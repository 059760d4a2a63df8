package launch

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepForeground returns a function that makes this process's group the foreground of the
// terminal again, if it is that now. A shell in a PID namespace cannot give the terminal
// back, for it sees no number of the group that had it.
func keepForeground() (restore func()) {
	tty, ok := terminal()
	if !ok {
		return func() {}
	}
	defer tty.Close()
	if group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP); err != nil || group != unix.Getpgrp() {
		return func() {}
	}
	return func() {
		tty, ok := terminal()
		if !ok {
			return // it was hung up
		}
		defer tty.Close()
		// Otherwise a process in the background is stopped.
		if !signal.Ignored(syscall.SIGTTOU) {
			signal.Ignore(syscall.SIGTTOU)
			defer signal.Reset(syscall.SIGTTOU)
		}
		_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	}
}

// terminal returns the controlling terminal.
func terminal() (*os.File, bool) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	return tty, err == nil
}
