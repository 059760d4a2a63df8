package upstream

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pathTimeout is how long something is sent again without any acknowledgement.
const pathTimeout = 30 * time.Second

// deadPaths bounds how long a connection lives on which nothing is acknowledged
// any more. Unlike the option of Linux, this one is about what is sent again
// alone, and leaves a server its time to read.
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
