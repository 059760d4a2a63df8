package safefile

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	leaseTries    = 20
	leaseInterval = time.Millisecond
)

// lease keeps others from opening a file: they wait until it is released (see
// fcntl(2), "Leases").
type lease struct{ f *os.File }

// takeLease takes the lease of f, which nobody else may have open. It is nil
// where there is none to be had: f is not ours, somebody keeps it open, or the
// file system knows no leases.
func takeLease(f *os.File) *lease {
	for range leaseTries {
		_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
		if err == nil {
			return &lease{f}
		}
		if err != unix.EAGAIN {
			return nil
		}
		time.Sleep(leaseInterval)
	}
	return nil
}

// wanted reports whether somebody waits to open the file.
func (l *lease) wanted() bool {
	if l == nil {
		return false
	}
	kind, err := unix.FcntlInt(l.f.Fd(), unix.F_GETLEASE, 0)
	return err != nil || kind != unix.F_WRLCK
}

func (l *lease) release() {
	if l != nil {
		_, _ = unix.FcntlInt(l.f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
}
