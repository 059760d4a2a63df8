//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func typeInto(tty int) error {
	b := [...]byte{'x'}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(tty), unix.TIOCSTI, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		return errno
	}
	return nil
}
