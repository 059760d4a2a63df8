//go:build unix && (!linux || race)

package netconn

import "syscall"

// What package syscall reads and writes, the race detector sees. It does not see what a raw
// system call does to a buffer.

// readNow is read(2) of a descriptor that does not block.
func readNow(fd uintptr, p []byte) (int, error) { return syscall.Read(int(fd), p) }

// writeNow is write(2) to a descriptor that does not block.
func writeNow(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
