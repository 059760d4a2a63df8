package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestWebSocket carries messages of all sizes, compressed, over a server that
// would rather speak HTTP/2. A field that says nothing has net/http serve the client.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ server, field string }{{proxytest.H1, "X"}, {proxytest.H1, "Keep-Alive"}, {proxytest.H2, "X"}} {
		server := test.server
		t.Run(server+" "+test.field, func(t *testing.T) {
			t.Parallel()
			auth := make(chan string, 1)
			backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
				auth <- r.Header.Get("Authorization")
				echoWebSocket(t, w, r)
			})
			// A label's heads may have 512 kB, as which none of the messages counts.
			p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Limits.Memory = 16 << 20 })
			c := p.client(t, proxytest.H1)
			c.Timeout = 0
			ctx, cancel := context.WithTimeout(context.Background(), proxytest.Patience)
			defer cancel()
			conn, res, err := websocket.Dial(ctx, "wss://"+proxytest.Host+"/", &websocket.DialOptions{
				HTTPClient: c, CompressionMode: websocket.CompressionContextTakeover, HTTPHeader: http.Header{test.field: {"x"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if got := res.Header.Get("Sec-Websocket-Extensions"); !strings.Contains(got, "permessage-deflate") {
				t.Errorf("extensions %q", got)
			}
			if got := <-auth; got != "Bearer "+proxytest.AccessToken {
				t.Errorf("Authorization %q", got)
			}
			conn.SetReadLimit(-1)
			for _, size := range []int{0, 1, 70_000, 2 << 20} {
				said := bytes.Repeat([]byte("w"), size)
				if size > 1<<16 {
					_, _ = rand.NewChaCha8([32]byte{}).Read(said[:size/2]) // does not compress
				}
				if err := conn.Write(ctx, websocket.MessageBinary, said); err != nil {
					t.Fatal(err)
				}
				if _, heard, err := conn.Read(ctx); err != nil || !bytes.Equal(heard, said) {
					t.Fatalf("%d bytes: %d, %v", size, len(heard), err)
				}
				if size == 1 {
					time.Sleep(quietAfter * 5 / 4) // so that it is waited for without a buffer
				}
			}
			if err := proxytest.CloseSocket(conn, "bye"); err != nil {
				t.Error(err)
			}
			p.logged(t, `"status":101`)
		})
	}
}

// echoWebSocket sends every message back.
func echoWebSocket(t *testing.T, w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		_ = conn.Write(context.Background(), kind, message)
	}
}

// switchTo answers an upgrade and hands the connection to serve.
func switchTo(t *testing.T, protocol string, serve func(c *bufio.ReadWriter, closeWrite func())) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\n\r\n")
		_ = rw.Flush()
		serve(rw, func() { closeWriteOf(t, conn) })
	}
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"

// TestUpgradeHalfClose has either side of an upgraded connection say all before
// the other one answers. The protocol is no WebSocket, and the client's first
// bytes come together with its request.
func TestUpgradeHalfClose(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 16<<10)
	for _, server := range []string{proxytest.H1, proxytest.H2} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			t.Run("client first", func(t *testing.T) {
				t.Parallel()
				backend := proxytest.NewBackend(t, server, switchTo(t, "tcp", func(c *bufio.ReadWriter, _ func()) {
					said, _ := io.ReadAll(c)
					_, _ = c.Write(said)
					_ = c.Flush()
				}))
				c := startProxy(t, backend.Listener.Addr().String()).intercepted(t)
				c.Send(t, upgradeRequest+"first %s", "tcp", large)
				if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "tcp" {
					t.Fatal(res.Status)
				}
				c.Send(t, " last")
				closeWriteOf(t, c.Conn)
				c.Expect(t, "first "+large+" last")
				c.ExpectEOF(t)
			})
			t.Run("server first", func(t *testing.T) {
				t.Parallel()
				heard := make(chan string, 1)
				backend := proxytest.NewBackend(t, server, switchTo(t, "tcp", func(c *bufio.ReadWriter, closeWrite func()) {
					_, _ = io.WriteString(c, large)
					_ = c.Flush()
					closeWrite()
					said, _ := io.ReadAll(c)
					heard <- string(said)
				}))
				c := startProxy(t, backend.Listener.Addr().String()).intercepted(t)
				c.Send(t, upgradeRequest, "tcp")
				if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
					t.Fatal(res.Status)
				}
				c.Expect(t, large)
				c.ExpectEOF(t)
				c.Send(t, "%s", large)
				closeWriteOf(t, c.Conn)
				if got := <-heard; got != large {
					t.Errorf("the server heard %d bytes", len(got))
				}
			})
		})
	}
}

// TestUpgradeHalfClosedIsCut stops the proxy while the server of an upgraded connection has said
// all, and the client says nothing.
func TestUpgradeHalfClosedIsCut(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, switchTo(t, "tcp", func(c *bufio.ReadWriter, closeWrite func()) {
		closeWrite()
		_, _ = io.ReadAll(c)
	}))
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.intercepted(t)
	c.Send(t, upgradeRequest, "tcp")
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	c.ExpectEOF(t)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p.cutNow()
	}()
	select {
	case <-stopped:
	case <-time.After(proxytest.Patience / 2):
		c.Close()
		t.Error("the proxy waits for the client")
	}
}

// TestUpgradeRefused passes on what a server answers in place of 101.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("Upgrade: %q", r.Header.Get("Upgrade"))
		}
		w.WriteHeader(http.StatusUpgradeRequired)
		_, _ = io.WriteString(w, "speak HTTP")
	})
	c := startProxy(t, backend.Listener.Addr().String()).intercepted(t)
	for range 2 { // on one connection
		c.Send(t, upgradeRequest, "websocket")
		res := c.Response(t, http.MethodGet)
		if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusUpgradeRequired || body != "speak HTTP" {
			t.Errorf("%s, %q", res.Status, body)
		}
	}
}

// TestWrongUpgrade has a server switch to what nobody asked for.
func TestWrongUpgrade(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 2)
	backend := proxytest.NewBackend(t, proxytest.H1, switchTo(t, "other", func(c *bufio.ReadWriter, _ func()) {
		_, _ = io.ReadAll(c)
		closed <- struct{}{}
	}))
	c := startProxy(t, backend.Listener.Addr().String()).intercepted(t)
	for _, request := range []string{
		strings.ReplaceAll(upgradeRequest, "%s", "websocket"),
		"GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n",
	} {
		c.Send(t, "%s", request)
		proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusBadGateway, "upstream_failed", "destination_unavailable")
		proxytest.Wait(t, "the server's connection is closed", closed)
	}
}

// TestUpgradeClientGone has the client's connection break without a word.
func TestUpgradeClientGone(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	backend := proxytest.NewBackend(t, proxytest.H1, switchTo(t, "websocket", func(c *bufio.ReadWriter, _ func()) {
		_, _ = io.ReadAll(c)
		closed <- struct{}{}
	}))
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.intercepted(t)
	c.Send(t, upgradeRequest, "websocket")
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	c.Conn.(*tls.Conn).NetConn().Close()
	proxytest.Wait(t, "the server's connection is closed", closed)
	p.logged(t, `"status":101`)
}

// TestUpgradeToNothing: what is no protocol is refused before the request is
// signed, as the client's mistake.
func TestUpgradeToNothing(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	for _, protocol := range []string{"\xac", "websocket\t", "wébsocket"} {
		c := startProxy(t, address).intercepted(t)
		c.Send(t, upgradeRequest, protocol+"x")
		proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusBadRequest, "malformed_request", "http_request_error")
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}
