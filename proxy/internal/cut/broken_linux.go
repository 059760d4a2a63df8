package cut

import (
	"net"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// States of a connection (net/tcp_states.h of the kernel).
const (
	tcpClose     = 7 // its peer has reset it, or it has timed out
	tcpCloseWait = 8 // its peer has ended it
)

// isBroken reports whether the system has given up conn. The error of a copy from one
// socket to another does not say which of them failed.
func isBroken(conn net.Conn) bool { return stateOf(conn) == tcpClose }

// HasLeft reports whether the peer of conn has ended or reset it, though what it sent before may
// not have been read yet.
func HasLeft(conn net.Conn) bool {
	state := stateOf(conn)
	return state == tcpClose || state == tcpCloseWait
}

// stateOf returns the state of conn, 0 if it has none.
func stateOf(conn net.Conn) (state uint8) {
	socket := netconn.SocketOf(conn)
	if socket == nil {
		return 0
	}
	_ = socket.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state
}
