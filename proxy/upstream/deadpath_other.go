//go:build !linux && !darwin

package upstream

import "net"

// deadPaths does nothing: the limits of the system hold.
type deadPaths struct{}

func newDeadPaths() *deadPaths { return nil }

func (*deadPaths) watch(net.Conn) {}
