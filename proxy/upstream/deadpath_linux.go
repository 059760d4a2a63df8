package upstream

import (
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadPaths bounds how long connections live on which nothing is acknowledged any
// more, as when a firewall has forgotten them. Keep-alives find that out while nothing is
// being sent; otherwise the kernel would retransmit for a quarter of an hour.
//
// TCP_USER_TIMEOUT bounds that, but it also ends connections to a server that
// acknowledges everything and only takes its time to read (tcp(7) does not say so). So it
// is set while something is being retransmitted, and at no other time.
type deadPaths struct {
	every   time.Duration // how often the connections are looked at
	timeout time.Duration // without any acknowledgement, in whole milliseconds

	mu    sync.Mutex
	paths []*path
	timer *time.Timer // nil while there are none
}

// path is a connection to a server.
type path struct {
	socket syscall.RawConn
	lost   bool // something is being retransmitted
}

func newDeadPaths() *deadPaths {
	return &deadPaths{every: 10 * time.Second, timeout: 30 * time.Second}
}

// watch bounds it for conn, until conn is closed.
func (w *deadPaths) watch(conn net.Conn) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	socket, err := c.SyscallConn()
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = append(w.paths, &path{socket: socket})
	if w.timer == nil {
		w.timer = time.AfterFunc(w.every, w.look)
	}
}

// look looks at every connection, and calls itself later while there are any.
func (w *deadPaths) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = slices.DeleteFunc(w.paths, func(p *path) bool { return !p.look(w.timeout) })
	w.timer = nil
	if len(w.paths) > 0 {
		w.timer = time.AfterFunc(w.every, w.look)
	}
}

// look sets or clears the timeout. It reports false if the socket is closed.
func (p *path) look(timeout time.Duration) (open bool) {
	err := p.socket.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		lost := info.Unacked > 0 && info.Retransmits > 0
		if lost == p.lost {
			return
		}
		milliseconds := 0 // as the system has it
		if lost {
			milliseconds = int(timeout.Milliseconds())
		}
		if unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds) == nil {
			p.lost = lost
		}
	})
	return err == nil
}
