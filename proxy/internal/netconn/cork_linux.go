package netconn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Cork sets TCP_CORK (tcp(7)): while it is on, the socket holds back what is
// written to it until there is enough for a large packet. It changes nothing about
// what arrives, and fails silently on sockets that are not TCP.
func Cork(socket syscall.RawConn, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = socket.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, value) })
}
