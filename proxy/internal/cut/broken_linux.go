package cut

import (
	"net"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// tcpClose is the state of a connection that its peer has reset, or that has timed out
// (TCP_CLOSE of the kernel).
const tcpClose = 7

// isBroken reports whether the system has given up conn. The error of a copy from one
// socket to another does not say which of them failed.
func isBroken(conn net.Conn) bool {
	socket := netconn.SocketOf(conn)
	if socket == nil {
		return false
	}
	broken := false
	_ = socket.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		broken = err == nil && info.State == tcpClose
	})
	return broken
}
