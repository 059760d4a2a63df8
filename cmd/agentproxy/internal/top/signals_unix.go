//go:build unix

package top

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// notifyResize has c told when the terminal's size changes, until stop is called.
func notifyResize(c chan os.Signal) (stop func()) {
	signal.Notify(c, syscall.SIGWINCH)
	return func() { signal.Stop(c) }
}

// suspend gives the terminal back until the shell has the program go on, as at Ctrl-Z.
func (s *screen) suspend() error {
	s.leave()
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	if err := syscall.Kill(0, syscall.SIGTSTP); err != nil {
		return err
	}
	select {
	case <-goOn:
	case <-time.After(time.Second): // nobody could have it go on, so it was not stopped
	}
	return s.take()
}
