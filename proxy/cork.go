package proxy

import (
	"net"
	"syscall"
)

// socketOf returns the socket of a client's connection, nil if it has none.
func socketOf(conn net.Conn) syscall.RawConn {
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
