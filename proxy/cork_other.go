//go:build !linux

package proxy

import "syscall"

// cork is for Linux.
func cork(syscall.RawConn, bool) {}
