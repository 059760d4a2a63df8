package proxy

import "golang.org/x/sys/unix"

// corkSocket sets TCP_CORK (tcp(7)), which sends what was held back when it is
// taken off.
func corkSocket(fd uintptr, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, value) // fails on sockets that are not TCP's
}
