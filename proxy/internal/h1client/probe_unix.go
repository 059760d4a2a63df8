//go:build unix

package h1client

import (
	"io"
	"net"
	"os"
	"syscall"
)

// canProbe reports whether a probeSocket works on this system.
const canProbe = true

// errNothingYet is the error of a read for which nothing has come. It is temporary, so
// that crypto/tls goes on after it.
var errNothingYet = os.ErrDeadlineExceeded

// probeSocket is a socket that can be read from without waiting.
type probeSocket struct {
	net.Conn
	probing bool // set by the reader while it does not want to wait

	raw    syscall.RawConn
	buffer []byte
	n      int
	err    error
	try    func(fd uintptr) bool
}

func newProbeSocket(conn net.Conn) (*probeSocket, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, os.ErrInvalid
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &probeSocket{Conn: conn, raw: raw}
	s.try = func(fd uintptr) bool {
		s.n, s.err = syscall.Read(int(fd), s.buffer)
		return true
	}
	return s, nil
}

// Read implements [io.Reader].
func (s *probeSocket) Read(p []byte) (int, error) {
	if !s.probing {
		return s.Conn.Read(p)
	}
	s.buffer = p
	err := s.raw.Read(s.try)
	s.buffer = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == syscall.EAGAIN, s.err == syscall.EINTR:
		return 0, errNothingYet
	case s.err != nil:
		return 0, os.NewSyscallError("read", s.err)
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}
