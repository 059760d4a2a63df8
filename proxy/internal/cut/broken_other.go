//go:build !linux

package cut

import "net"

// isBroken reports false: this system does not say.
func isBroken(net.Conn) bool { return false }

// HasLeft reports false: this system does not say.
func HasLeft(net.Conn) bool { return false }
