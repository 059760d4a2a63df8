// Package cut finds out which side ended an exchange before it was complete.
package cut

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// The sides of an exchange. They are words of the access log and values of a metric's
// label, and do not change.
const (
	Client = "client"
	Server = "server"
	Proxy  = "proxy"
)

var sides = [...]string{"", Client, Server, Proxy}

// Culprit is the side that was named first. The zero value is nobody. It is safe for
// concurrent use.
type Culprit struct{ side atomic.Int32 }

// Name names a side.
func (c *Culprit) Name(side string) {
	for i, s := range sides {
		if s == side {
			c.side.CompareAndSwap(0, int32(i))
		}
	}
}

// Set names a side, whoever was named before.
func (c *Culprit) Set(side string) {
	c.side.Store(0)
	c.Name(side)
}

// Side returns the side that was named first, "" if none was.
func (c *Culprit) Side() string { return sides[c.side.Load()] }

// Note names the side that err comes from, and returns err. It names nobody for the end of
// what that side sends, nor for what follows after a connection was closed here.
func (c *Culprit) Note(side string, err error) error {
	switch {
	case err == nil, err == io.EOF, errors.Is(err, net.ErrClosed):
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Name(Proxy) // which has set the deadline
	default:
		c.Name(side)
	}
	return err
}

// IsBroken reports whether err is that of a connection that has ended in the middle of a
// message.
func IsBroken(err error) bool {
	_, system := errors.AsType[*net.OpError](err)
	return system || errors.Is(err, io.ErrUnexpectedEOF)
}

// Tunnel names whose connection is broken after copying from src to dst has failed with
// err. Neither may be closed yet.
func (c *Culprit) Tunnel(dst, src net.Conn, err error, sideOf func(net.Conn) string) {
	switch {
	case errors.Is(err, net.ErrClosed):
	case isBroken(src):
		c.Name(sideOf(src))
	case isBroken(dst):
		c.Name(sideOf(dst))
	case errors.Is(err, syscall.EPIPE): // only writing fails with it
		c.Name(sideOf(dst))
	default:
		c.Name(sideOf(src))
	}
}
