// Package netconn wraps network connections: one that fails when its peer stops
// reading ([StallConn]), one that returns bytes again that were read too far
// ([PrefixConn]), and what is done to any: closing one side, finding the socket
// and corking it, and the TLS handshake with a server.
//
// A wrapper has a method NetConn that returns the connection beneath it, as
// [crypto/tls.Conn] has, so that code that needs the socket finds it without
// knowing the wrappers.
package netconn

import "net"

// CloseWrite closes the sending side of conn, so that the peer reads the end. It
// closes conn if that cannot be half closed.
func CloseWrite(conn net.Conn) error {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return conn.Close()
}
