package netconn

import (
	"net"
	"syscall"
)

// SocketOf returns the socket below conn and its wrappers, nil if there is none.
func SocketOf(conn net.Conn) syscall.RawConn {
	for {
		switch c := conn.(type) {
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		case syscall.Conn:
			socket, err := c.SyscallConn()
			if err != nil {
				return nil
			}
			return socket
		default:
			return nil
		}
	}
}
