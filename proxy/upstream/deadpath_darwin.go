package upstream

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pathTimeout bounds the retransmission without any acknowledgement.
const pathTimeout = 30 * time.Second

// deadPaths bounds how long connections live on which nothing is acknowledged any
// more. Unlike the option of Linux, that of Darwin counts retransmissions alone.
type deadPaths struct{}

func newDeadPaths() *deadPaths { return nil }

// watch bounds it for conn.
func (*deadPaths) watch(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if socket, err := c.SyscallConn(); err == nil {
		_ = socket.Control(func(fd uintptr) { // without it the system's own limit holds
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_RXT_CONNDROPTIME, int(pathTimeout/time.Second))
		})
	}
}
