//go:build unix

package cli

import "golang.org/x/sys/unix"

// DisableCoreDumps forbids core files to this process and to those that it
// starts. It is not for run: what limits COMMAND has is not ours to say.
func DisableCoreDumps() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // lowering is always allowed
}
