//go:build unix

package app

import "syscall"

// makePrivate sets the mode that Linux gives to a socket's file when it is bound. On other
// systems the mode is set after that.
func makePrivate(socket uintptr) { _ = syscall.Fchmod(int(socket), 0o600) }
