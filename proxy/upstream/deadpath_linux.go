package upstream

import (
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadPaths looks after connections on which nothing is acknowledged any more, as
// when a firewall has forgotten them. Keep-alives find that out while nothing is
// on its way; what is would be sent again and again for a quarter of an hour.
//
// TCP_USER_TIMEOUT bounds that, but it also ends connections to a server that
// acknowledges all there is and only takes its time to read (tcp(7) does not say
// so). So it is set while something is sent again, and at no other time.
type deadPaths struct {
	every   time.Duration // how often the connections are looked at
	timeout time.Duration // without any acknowledgement, in whole milliseconds

	mu    sync.Mutex
	paths []*path
	timer *time.Timer // nil while there are none
}

// path is the way to a server.
type path struct {
	socket syscall.RawConn
	lost   bool // what was sent is being sent again
}

func newDeadPaths() *deadPaths {
	return &deadPaths{every: 10 * time.Second, timeout: 30 * time.Second}
}

// watch looks after conn until it is closed.
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

// look looks at every connection, and comes again as long as there are any.
func (w *deadPaths) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths = slices.DeleteFunc(w.paths, func(p *path) bool { return !p.look(w.timeout) })
	w.timer = nil
	if len(w.paths) > 0 {
		w.timer = time.AfterFunc(w.every, w.look)
	}
}

// look bounds how long the socket goes on without an acknowledgement. It reports
// false if the socket is closed.
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
