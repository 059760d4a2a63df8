//go:build !linux && !darwin

package proxy

import "net"

// pathWatch is for Linux and Darwin. Elsewhere the system's own limits hold.
type pathWatch struct{}

func newPathWatch() *pathWatch { return nil }

func (*pathWatch) watch(net.Conn) {}
