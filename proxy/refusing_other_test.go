//go:build !unix

package proxy

import (
	"net"
	"testing"
)

// refusingAddress returns an address at which nobody listened a moment ago.
func refusingAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
