package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// cork has a socket hold back what is written to it until there is enough for a
// large packet, or until it is uncorked (TCP_CORK, tcp(7)). It makes no difference
// to what arrives, and none at all where it fails, as on sockets that are not
// TCP's.
func cork(socket syscall.RawConn, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = socket.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, value) })
}
