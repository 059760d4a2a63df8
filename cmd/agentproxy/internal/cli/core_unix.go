//go:build unix

package cli

import "golang.org/x/sys/unix"

// DisableCoreDumps forbids core files of this process and of those that it starts. It is not
// for run, which leaves COMMAND its limits.
func DisableCoreDumps() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // lowering is always allowed
}
