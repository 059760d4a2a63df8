//go:build linux

package integration

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// hostClaims are ports that say whose a loopback address is. The system gives them to nobody who
// asks for any port. The second is for machines on which a program listens on the first one of
// all addresses, and so on.
var hostClaims = []int{7999, 7998, 7997}

// ownHost returns a loopback address that is the test's alone, whatever the port: no other
// test, of this process or of another, gets it as long as this one runs.
func ownHost(t *testing.T) string {
	t.Helper()
	var err error
	for _, port := range hostClaims {
		for range 1000 {
			host := fmt.Sprintf("127.%d.%d.1", 64+rand.N(64), rand.N(256)) // none begins as another does
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
				t.Cleanup(func() { l.Close() })
				return host
			}
		}
	}
	t.Fatalf("no loopback address is free; something may listen on ports %v of all addresses: %v", hostClaims, err)
	return ""
}

// freePort returns a port of the test's own host that nobody listens on, among those that the
// system gives to nobody who asks for any: wanted, unless a program listens there on all
// addresses.
func freePort(t *testing.T, host string, wanted int) string {
	t.Helper()
	var err error
	for port := wanted; port < wanted+1000; port++ {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			l.Close()
			return strconv.Itoa(port)
		}
	}
	t.Fatal(err)
	return ""
}

// freeAddress returns an address that nobody listens on, and that nobody else gets, for
// programs that cannot say which port they were given. A port that the system gave and that
// was closed again may be another's by the time that they listen.
func freeAddress(t *testing.T) string {
	t.Helper()
	host := ownHost(t)
	return net.JoinHostPort(host, freePort(t, host, 8080))
}

// TestFreeAddress has a program of the machine listen on the ports of all addresses that tests
// would take.
func TestFreeAddress(t *testing.T) {
	if !needRoot(t) {
		return
	}
	network := newNetwork(t)
	inNetwork(t, network, func() {
		for _, port := range []int{hostClaims[0], 8080, 8081} {
			for _, family := range []string{"tcp4", "tcp6"} {
				l, err := net.Listen(family, fmt.Sprintf(":%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
			}
		}
		seen := make(map[string]bool)
		for range 20 {
			address := freeAddress(t)
			if l, err := net.Listen("tcp", address); err != nil || seen[address] {
				t.Errorf("%s: %v, given before: %t", address, err, seen[address])
			} else {
				l.Close()
			}
			seen[address] = true
		}
	})
}
