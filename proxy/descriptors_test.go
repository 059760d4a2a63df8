package proxy

import (
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// starvedListener has no descriptor for the first connections.
type starvedListener struct {
	net.Listener
	mu   sync.Mutex
	left int
}

func (l *starvedListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		l.left--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// TestOutOfDescriptors warns once, is not ready, and serves when there are descriptors
// again.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "", func(*Config) {})
	if p.OutOfDescriptors() {
		t.Error("out of descriptors from the beginning")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(&starvedListener{Listener: l, left: 3}) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := proxytest.NewRawConn(t, c)
	client.Send(t, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	client.Expect(t, "HTTP/1.1 400")
	p.cutNow()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log.String(), "no descriptor"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, p.log.String())
	}
}
