//go:build unix

package cli

import "golang.org/x/sys/unix"

// DisableCoreDumps forbids core files of this process and of those that it starts. It is not
// for run, which leaves COMMAND its limits.
func DisableCoreDumps() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // lowering is always allowed
}

// Descriptors returns how many files and connections this process may have open. The
// runtime has raised the limit as far as it may.
func Descriptors() (most uint64, ok bool) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}
