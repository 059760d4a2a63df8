//go:build linux

package integration

import (
	"net"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// relay stands between the proxy and the backend and fails in the ways that
// networks and servers do.
type relay struct {
	backend *chatgpttest.Server
	l       net.Listener
	group   sync.WaitGroup

	mu        sync.Mutex
	down      bool
	stalled   chan struct{} // closed when nothing stalls
	conns     map[net.Conn]struct{}
	forgotten map[net.Conn]struct{} // of conns
}

func newRelay(t *testing.T, backend *chatgpttest.Server) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{backend: backend, l: l, stalled: make(chan struct{}), conns: make(map[net.Conn]struct{}), forgotten: make(map[net.Conn]struct{})}
	close(r.stalled)
	r.group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.group.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.reset()
		r.group.Wait()
	})
	return r
}

func (r *relay) Addr() string    { return r.l.Addr().String() }
func (r *relay) CertPEM() []byte { return r.backend.CertPEM() }

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	down := r.down
	r.mu.Unlock()
	if down {
		_ = client.(*net.TCPConn).SetLinger(0) // a reset, as from a port nobody listens on
		return
	}
	server, err := net.Dial("tcp", r.backend.Addr())
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.conns[client], r.conns[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { r.copy(server, client) })
	group.Go(func() { r.copy(client, server) })
	group.Wait()
	r.mu.Lock()
	delete(r.conns, client)
	delete(r.conns, server)
	delete(r.forgotten, client)
	delete(r.forgotten, server)
	r.mu.Unlock()
}

func (r *relay) copy(dst, src net.Conn) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		r.mu.Lock()
		stalled := r.stalled
		_, forgotten := r.forgotten[src]
		r.mu.Unlock()
		<-stalled
		if n > 0 && !forgotten {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset cuts every connection in the middle.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (r *relay) setDown(down bool) {
	r.mu.Lock()
	r.down = down
	r.mu.Unlock()
	if down {
		r.reset()
	}
}

// forget has the connections that there are swallow everything from now on,
// while others can be opened.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		r.forgotten[c] = struct{}{}
	}
}

// stall holds all bytes back until the function that it returns is called.
func (r *relay) stall() (release func()) {
	stalled := make(chan struct{})
	r.mu.Lock()
	r.stalled = stalled
	r.mu.Unlock()
	return func() { close(stalled) }
}
