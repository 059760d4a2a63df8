package proxy

import (
	"net"
	"syscall"
)

// corker is a connection that can hold back what is written to it until there is
// enough for a large packet.
type corker interface{ cork(on bool) }

// cork implements [corker].
func (c *interceptedConn) cork(on bool) { setCork(c.Conn, on) }

// cork implements [corker].
func (c *replayConn) cork(on bool) { setCork(c.Conn, on) }

// cork implements [corker].
func (c *clientConn) cork(on bool) { setCork(c.Conn, on) }

// setCork corks conn if that is possible. It makes no difference to what arrives.
func setCork(conn net.Conn, on bool) {
	switch c := conn.(type) {
	case corker:
		c.cork(on)
	case syscall.Conn:
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { corkSocket(fd, on) })
		}
	}
}
