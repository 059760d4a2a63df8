package launch

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepForeground returns what makes this process's group the terminal's foreground
// again, if it is now. A shell that runs in a PID namespace cannot give the terminal
// back, for it knows no number for the group that had it.
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
		// Who does this from the background is stopped otherwise.
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
