//go:build !unix

package h1client

import (
	"errors"
	"net"
)

// canProbe reports whether a probeSocket works on this system.
const canProbe = false

var errNothingYet = errors.ErrUnsupported

// probeSocket cannot be read from without waiting.
type probeSocket struct {
	net.Conn
	probing bool
}

func newProbeSocket(net.Conn) (*probeSocket, error) { return nil, errors.ErrUnsupported }
