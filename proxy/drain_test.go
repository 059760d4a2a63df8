package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// drained is a proxy with one exchange of each kind running.
type drained struct {
	p       *testProxy
	streams map[string]*http.Response // by protocol
	next    map[string]chan struct{}  // has the server go on
	socket  *websocket.Conn
	tunnel  *proxytest.RawConn
}

func startExchanges(t *testing.T) *drained {
	t.Helper()
	d := &drained{streams: map[string]*http.Response{}, next: map[string]chan struct{}{proxytest.H1: make(chan struct{}), proxytest.H2: make(chan struct{})}}
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoWebSocket(t, w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-d.next[r.Header.Get("Client")]:
			_, _ = io.WriteString(w, "data: last\n\n")
		case <-r.Context().Done():
		}
	})
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	d.p = startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Upstream.ConnectTo["tunnel.example:7"] = echo })
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
		r.Header.Set("Client", proto)
		d.streams[proto] = proxytest.Do(t, d.p.client(t, proto), r)
	}
	c := d.p.client(t, proxytest.H1)
	c.Timeout = 0
	var err error
	if d.socket, _, err = websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: c}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.socket.CloseNow() })
	d.tunnel = d.p.connect(t, "tunnel.example:7")
	d.tunnel.Send(t, "x")
	d.tunnel.Expect(t, "x")
	return d
}

// shutdown begins to stop the proxy and returns when it accepts nobody any more.
func (d *drained) shutdown(t *testing.T, ctx context.Context) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- d.p.Shutdown(ctx) }()
	proxytest.Eventually(t, func() error {
		c, err := net.Dial("tcp", d.p.addr)
		if err == nil {
			c.Close()
			return errors.New("connections are still accepted")
		}
		return nil
	})
	return done
}

// TestDrain stops a proxy with exchanges running, which all complete.
func TestDrain(t *testing.T) {
	check := proxytest.NoneLeft(t)
	t.Run("exchanges", func(t *testing.T) {
		d := startExchanges(t)
		done := d.shutdown(t, t.Context())

		for proto, res := range d.streams {
			close(d.next[proto])
			if got := proxytest.ReadAll(t, res.Body); got != "data: last\n\n" {
				t.Errorf("%s: %q", proto, got)
			}
		}
		if err := d.socket.Write(t.Context(), websocket.MessageText, []byte("still there")); err != nil {
			t.Error(err)
		}
		if _, heard, err := d.socket.Read(t.Context()); err != nil || string(heard) != "still there" {
			t.Errorf("%q, %v", heard, err)
		}
		if err := proxytest.CloseSocket(d.socket, ""); err != nil {
			t.Error(err)
		}
		d.tunnel.Send(t, "still there")
		d.tunnel.Expect(t, "still there")
		select {
		case err := <-done:
			t.Errorf("Shutdown did not wait for the tunnel: %v", err)
		default:
		}
		closeWriteOf(t, d.tunnel.Conn)
		d.tunnel.ExpectEOF(t)

		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := d.p.Shutdown(t.Context()); err != nil {
			t.Errorf("second Shutdown: %v", err)
		}
		if log := d.p.log.String(); strings.Contains(log, `"failure"`) {
			t.Errorf("something was cut:\n%s", log)
		}
	})
	check()
}

// TestDrainCut stops a proxy whose exchanges do not end by themselves.
func TestDrainCut(t *testing.T) {
	check := proxytest.NoneLeft(t)
	t.Run("exchanges", func(t *testing.T) {
		d := startExchanges(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := d.shutdown(t, ctx)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Shutdown: %v", err)
		}
		for proto, res := range d.streams {
			if got, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%s: %q, as if that were all", proto, got)
			}
		}
		if _, _, err := d.socket.Read(t.Context()); err == nil {
			t.Error("the WebSocket is still there")
		}
		if _, err := d.tunnel.R.ReadByte(); err == nil {
			t.Error("the tunnel is still there")
		}
		if n := strings.Count(d.p.log.String(), errCut.Error()); n != 4 {
			t.Errorf("%d of 4 exchanges are said to be cut:\n%s", n, d.p.log.String())
		}
	})
	check()
}

// TestServeAfterShutdown closes the listener, so that nobody waits at it.
func TestServeAfterShutdown(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	p.cutNow()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Serve(l); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}
