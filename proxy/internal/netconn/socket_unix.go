//go:build unix

package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// CanProbe reports whether [Socket.Alive] and [Socket.ReadMore] work on this system.
const CanProbe = true

// Socket is a socket that is read and written without telling the scheduler, where the system
// allows it: the descriptor does not block, so that these calls are short. Otherwise each of
// them that follows a pause wakes the runtime's watchdog, which then looks every 20 µs at what
// is going on, and takes as much time as a short event does.
//
// A socket may also be read without waiting, by the goroutine that reads from it.
type Socket struct {
	Wrapper
	raw     syscall.RawConn
	in, out operation
	probing bool // reading does not wait
	drained bool // the last read took all that had come
	got     int  // bytes of the reads since ReadMore
}

// operation is a read or a write, which goes on when the socket is ready.
type operation struct {
	mu  sync.Mutex
	p   []byte
	n   int
	err error
	try func(fd uintptr) (done bool)
}

// NewSocket returns conn as a Socket, or [os.ErrInvalid] if it has no descriptor.
func NewSocket(conn net.Conn) (*Socket, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, os.ErrInvalid
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{Wrapper: Wrapper{conn}, raw: raw}
	s.in.try, s.out.try = s.tryRead, s.tryWrite
	return s, nil
}

// Read implements [net.Conn].
func (s *Socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return s.Conn.Read(p)
	}
	if s.probing && s.drained {
		return 0, ErrNothingYet
	}
	o := &s.in
	o.mu.Lock()
	defer o.mu.Unlock()
	o.p, o.n, o.err = p, 0, nil
	err := s.raw.Read(o.try)
	o.p = nil
	switch {
	case err != nil:
		return 0, renamed(err, "read")
	case o.err == syscall.EAGAIN:
		return 0, ErrNothingYet
	case o.err != nil:
		return 0, s.failed("read", o.err)
	case o.n == 0:
		return 0, io.EOF
	}
	return o.n, nil
}

func (s *Socket) tryRead(fd uintptr) bool {
	for {
		s.in.n, s.in.err = readNow(fd, s.in.p)
		s.drained = s.in.n < len(s.in.p)
		s.got += s.in.n
		switch s.in.err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return s.probing
		}
		return true
	}
}

// Write implements [net.Conn].
func (s *Socket) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return s.Conn.Write(p)
	}
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.p, o.n, o.err = p, 0, nil
	err := s.raw.Write(o.try)
	o.p = nil
	switch {
	case err != nil:
		return o.n, renamed(err, "write")
	case o.err != nil:
		return o.n, s.failed("write", o.err)
	}
	return o.n, nil
}

func (s *Socket) tryWrite(fd uintptr) bool {
	o := &s.out
	for o.n < len(o.p) {
		n, err := writeNow(fd, o.p[o.n:])
		switch err {
		case nil:
			o.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			o.err = err
			return true
		}
	}
	return true
}

// recordOverhead is more than encryption adds to a record, in bytes.
const recordOverhead = 64

// ReadMore reads what has come already from src, which is the socket or what decrypts it, into
// p, which has n bytes that src has just returned. It returns how many there are then. It makes
// no system call if nothing can have come. An error comes again at the next read. A nil Socket
// has nothing.
func (s *Socket) ReadMore(src io.Reader, p []byte, n int) int {
	if s == nil {
		return n
	}
	none := s.drained && s.got <= n+recordOverhead
	s.got = 0
	if none {
		return n
	}
	s.probing = true
	defer func() { s.probing = false }()
	for n < len(p) {
		m, err := src.Read(p[n:])
		n += m
		if err != nil {
			break
		}
	}
	return n
}

// Alive reports whether the connection is open, and nothing has come from src, which is the
// socket or what decrypts it.
func (s *Socket) Alive(src io.Reader) bool {
	var b [1]byte
	s.probing, s.drained = true, false
	n, err := src.Read(b[:])
	s.probing = false
	return n == 0 && err == ErrNothingYet
}

// WaitReadable waits until something has come on the socket below conn, or its end, and reads
// nothing. It takes less of a stack than a read from what decrypts the socket.
func WaitReadable(conn net.Conn) error {
	socket := SocketOf(conn)
	if socket == nil {
		return errors.ErrUnsupported
	}
	return socket.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
}

// failed returns the error of a system call as package net does.
func (s *Socket) failed(call string, err error) error {
	e := &net.OpError{Op: call, Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(call, err)}
	if e.Source != nil { // which some systems do not tell of a connection that was reset at once
		e.Net = e.Source.Network()
	}
	return e
}
