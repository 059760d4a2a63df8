//go:build unix

package app

import "syscall"

// makePrivate sets the mode that Linux gives to a socket's file when it is
// bound. Other systems cannot do that; there the mode is set right after.
func makePrivate(socket uintptr) { _ = syscall.Fchmod(int(socket), 0o600) }
