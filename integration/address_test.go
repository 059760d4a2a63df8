//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// hostClaim is the port that says whose a loopback address is. The system gives it to
// nobody who asks for any port.
const hostClaim = "7999"

// ownHost returns a loopback address that is the test's alone, whatever the port: no other
// test, of this process or of another, gets it as long as this one runs.
func ownHost(t *testing.T) string {
	t.Helper()
	var err error
	for range 1000 {
		host := fmt.Sprintf("127.%d.%d.1", 64+rand.N(64), rand.N(256)) // none begins as another does
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, hostClaim)); err == nil {
			t.Cleanup(func() { l.Close() })
			return host
		}
	}
	t.Fatalf("no loopback address is free; something may listen on port %s of all addresses: %v", hostClaim, err)
	return ""
}

// freeAddress returns an address that nobody listens on, and that nobody else gets, for
// programs that cannot say which port they were given. A port that the system gave and that
// was closed again may be another's by the time that they listen.
func freeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort(ownHost(t), "8080")
}
