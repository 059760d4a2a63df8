//go:build !unix

package netconn

import (
	"errors"
	"io"
	"net"
	"os"
)

// CanProbe reports whether [Socket.Alive] and [Socket.ReadMore] work on this system.
const CanProbe = false

// Socket is what no connection is on this system.
type Socket struct{ Wrapper }

// NewSocket returns [os.ErrInvalid].
func NewSocket(net.Conn) (*Socket, error) { return nil, os.ErrInvalid }

// ReadMore returns n: nothing can be read without waiting.
func (s *Socket) ReadMore(_ io.Reader, _ []byte, n int) int { return n }

// Alive returns false.
func (s *Socket) Alive(io.Reader) bool { return false }

// WaitReadable returns [errors.ErrUnsupported].
func WaitReadable(net.Conn) error { return errors.ErrUnsupported }
