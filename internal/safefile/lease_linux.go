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

// lease makes other processes wait that open the file, until it is released (see fcntl(2),
// "Leases"). A nil lease is none.
type lease struct{ f *os.File }

// takeLease takes a lease on f. It returns nil if there is none to be had: f is not this
// user's, another process keeps it open, or the file system knows no leases.
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

// wanted reports whether another process waits to open the file.
func (l *lease) wanted() bool {
	if l == nil {
		return false
	}
	kind, err := unix.FcntlInt(l.f.Fd(), unix.F_GETLEASE, 0)
	return err != nil || kind != unix.F_WRLCK
}

// release ends the lease.
func (l *lease) release() {
	if l != nil {
		_, _ = unix.FcntlInt(l.f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	}
}
