//go:build !linux

package netconn

import "syscall"

// Cork does nothing: only Linux has TCP_CORK.
func Cork(syscall.RawConn, bool) {}
