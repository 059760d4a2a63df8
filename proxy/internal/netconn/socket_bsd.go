//go:build unix && !linux

package netconn

import "syscall"

// readNow is read(2) of a descriptor that does not block.
func readNow(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

// writeNow is write(2) to a descriptor that does not block.
func writeNow(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
