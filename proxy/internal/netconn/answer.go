package netconn

import (
	"io"
	"net"
)

// maxUnread bounds what is read, in bytes, of a request that is not served.
const maxUnread = 64 << 10

// Answer writes an answer to conn in one piece, closes the sending side and reads some of what
// still comes, so that the answer is not lost to a reset. It calls answered before it reads.
func Answer(conn net.Conn, answer []byte, answered func()) {
	_, err := conn.Write(answer)
	if err == nil {
		err = CloseWrite(conn)
	}
	answered()
	if err == nil {
		_, _ = io.CopyN(io.Discard, conn, maxUnread)
	}
}
