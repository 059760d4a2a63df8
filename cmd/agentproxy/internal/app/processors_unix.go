//go:build unix

package app

import (
	"time"

	"golang.org/x/sys/unix"
)

// processorTime returns the time that the program has kept processors busy, if that is known.
func processorTime() (time.Duration, bool) {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		return 0, false
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), true
}
