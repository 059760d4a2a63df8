//go:build unix

package main

import "golang.org/x/sys/unix"

// disableCoreDumps forbids core files to this process and to those that it
// starts. It is not for run: what limits COMMAND has is not ours to say.
func disableCoreDumps() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // lowering is always allowed
}
