//go:build !race && unix

package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestIdleStack makes sure that the goroutine of a connection that waits for a request needs so
// little of its stack that collections shrink it to 4 KiB. The runtime halves a stack of which
// less than a quarter is in use, and counts 800 bytes more than are (shrinkstack in
// runtime/stack.go). Frames of the race detector are larger.
func TestIdleStack(t *testing.T) {
	const most, connections = 8<<10/4 - 800, 200
	p := startProxy(t, proxytest.NewBackend(t, proxytest.H1, func(http.ResponseWriter, *http.Request) {}).Listener.Addr().String())
	before := scannedStacks()
	for range connections {
		c := p.intercepted(t, "http/1.1")
		c.Send(t, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", proxytest.Host)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	all := make([]byte, 4<<20)
	proxytest.Eventually(t, func() error {
		if n := bytes.Count(all[:runtime.Stack(all, true)], []byte("netconn.WaitReadable(")); n < connections {
			return fmt.Errorf("%d connections wait below TLS", n)
		}
		return nil
	})
	each := (scannedStacks() - before) / connections
	if each >= most {
		t.Errorf("a connection that waits uses %d bytes of its stack, want less than %d; see who has large frames: Server.Serve, serverConn.serve, serverConn.await", each, most)
	}
}

// TestUpgradedStack makes sure that no handler is on a stack for as long as an upgrade lives,
// whichever server has called it.
func TestUpgradedStack(t *testing.T) {
	const live = 20
	backend := proxytest.NewBackend(t, proxytest.H1, switchTo(t, "echo", func(c *bufio.ReadWriter, _ func()) { _, _ = c.WriteTo(io.Discard) }))
	p := startProxy(t, backend.Listener.Addr().String())
	for _, field := range []string{"X", "Keep-Alive"} { // the latter has net/http serve the client
		for range live {
			c := p.intercepted(t, "http/1.1")
			c.Send(t, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n%s: x\r\n\r\n", proxytest.Host, field)
			if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(res.Status)
			}
		}
	}
	all := make([]byte, 4<<20)
	proxytest.Eventually(t, func() error {
		stacks := all[:runtime.Stack(all, true)]
		passing, handled := bytes.Count(stacks, []byte("proxy.(*upgradedConn).WriteTo(")), bytes.Count(stacks, []byte("proxy.(*interceptor).ServeHTTP("))
		if passing != 2*live || handled > 0 {
			return fmt.Errorf("of %d upgrades %d are passed on, and %d below a handler", 2*live, passing, handled)
		}
		return nil
	})
}

// scannedStacks returns how many bytes of stacks were in use when they were last scanned.
func scannedStacks() int64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/scan/stack:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
