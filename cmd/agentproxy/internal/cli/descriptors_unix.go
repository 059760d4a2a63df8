//go:build unix

package cli

import "golang.org/x/sys/unix"

// Descriptors returns how many files and connections this process may have open. The
// runtime has raised the limit as far as it may.
func Descriptors() (most uint64, ok bool) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}
