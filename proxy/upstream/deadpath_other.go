//go:build !linux && !darwin

package upstream

import "net"

// deadPaths is for Linux and Darwin. Elsewhere the system's own limits hold.
type deadPaths struct{}

func newDeadPaths() *deadPaths { return nil }

func (*deadPaths) watch(net.Conn) {}
