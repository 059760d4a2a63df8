package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	access.DefaultLimits().Check(func(key string, err error) { t.Errorf("%s: %v", key, err) })
	for want, edit := range map[string]func(*access.Limits){
		"connections":            func(l *access.Limits) { l.Connections = -1 },
		"connections_per_client": func(l *access.Limits) { l.ConnectionsPerClient = l.Connections + 1 },
		"connections_per_label":  func(l *access.Limits) { l.ConnectionsPerLabel = l.Connections + 1 },
		"header_bytes":           func(l *access.Limits) { l.HeaderBytes = 1 },
		"header_fields":          func(l *access.Limits) { l.HeaderFields = 1 },
		"handshake_timeout":      func(l *access.Limits) { l.HandshakeTimeout = time.Millisecond },
		"idle_timeout":           func(l *access.Limits) { l.IdleTimeout = 0 },
	} {
		l := access.DefaultLimits()
		edit(&l)
		var found []string
		l.Check(func(key string, err error) { found = append(found, key) })
		if !slices.Equal(found, []string{want}) {
			t.Errorf("%s, want %s", found, want)
		}
	}
	if got := (access.Limits{HeaderBytes: 5}).OrDefaults(); got.HeaderBytes != 5 || got.Connections != access.DefaultLimits().Connections {
		t.Errorf("%+v", got)
	}
	for connections, want := range map[int]int{1: 1, 2: 2, 4: 3, 4096: 3072} {
		if got := (access.Limits{Connections: connections}).OrDefaults().ConnectionsPerClient; got != want {
			t.Errorf("%d of %d connections are one client's, want %d", got, connections, want)
		}
	}
}

// echoing starts a proxy with limits, tunnel.example:7 behind it, and an
// intercepted host that answers.
func echoing(t *testing.T, limits access.Limits) *testProxy {
	t.Helper()
	address, _ := countingBackend(t)
	return startProxy(t, address, func(c *Config) {
		c.Limits = limits
		c.Upstream.ConnectTo["tunnel.example:7"] = proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	})
}

// connectAs sends a CONNECT of the client with a label.
func (p *testProxy) connectAs(t testing.TB, label, authority string) (*proxytest.RawConn, *http.Response) {
	t.Helper()
	c := p.dial(t)
	c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", authority, proxytest.BasicAuth(label, ""))
	return c, c.Response(t, http.MethodConnect)
}

// noneHeld waits until no connection is counted any more.
func (p *testProxy) noneHeld(t testing.TB) {
	t.Helper()
	proxytest.Eventually(t, func() error {
		for name, inUse := range map[string]func() int{"places": p.places.all.InUse, "clients": p.places.clients.InUse, "labels": p.places.labels.InUse, "turned away": p.places.turnedAway.Waiting} {
			if n := inUse(); n > 0 {
				return fmt.Errorf("%s: %d are still held", name, n)
			}
		}
		return nil
	})
}

// TestConnectionLimit answers those who come when all places are taken, and
// serves again as soon as one is free. Who is being served is not touched.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	p := echoing(t, access.Limits{Connections: 3})
	held := []*proxytest.RawConn{p.connect(t, "tunnel.example:7"), p.connect(t, proxytest.Host+":443"), p.dial(t)}
	proxytest.Eventually(t, func() error {
		if n := p.places.all.InUse(); n != 3 {
			return fmt.Errorf("%d places are taken", n)
		}
		return nil
	})
	for range 3 {
		message := wantConnectRefused(t, p, "tunnel.example:7", http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
		if !strings.Contains(message, "limits.connections") {
			t.Errorf("message %q", message)
		}
	}
	// Whoever is still sending when the answer comes is not cut off by a reset,
	// which could cost the answer.
	c := p.dial(t)
	c.Send(t, "POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n")
	proxytest.WantRefusal(t, c.Response(t, http.MethodPost), http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
	for range 10 {
		c.Send(t, "%s", strings.Repeat("b", 3000))
	}
	c.ExpectEOF(t)
	c.Close()

	held[0].Send(t, "still here")
	held[0].Expect(t, "still here")
	held[2].Close()
	proxytest.Eventually(t, func() error {
		c, res := p.connectAs(t, "x", "tunnel.example:7")
		defer c.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	for _, c := range held {
		c.Close()
	}
	p.noneHeld(t)
}

// TestClientLimit has one client open as many connections as it may, which say nothing.
// Its next one is answered, another client is served, and a place that is given back
// is free.
func TestClientLimit(t *testing.T) {
	t.Parallel()
	p := echoing(t, access.Limits{Connections: 10, ConnectionsPerClient: 3})
	var silent []*proxytest.RawConn
	for range 3 {
		silent = append(silent, p.dial(t))
	}
	proxytest.Eventually(t, func() error {
		if n := p.places.clients.InUse(); n != 3 {
			return fmt.Errorf("%d places are taken", n)
		}
		return nil
	})
	for range 3 {
		message := wantConnectRefused(t, p, "tunnel.example:7", http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
		if !strings.Contains(message, "limits.connections_per_client") {
			t.Errorf("message %q", message)
		}
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		p.cutNow()
		<-served
	})
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other := proxytest.NewRawConn(t, conn)
	other.Send(t, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\n\r\n")
	if res := other.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Errorf("another client: %s", res.Status)
	}
	other.Close()
	silent[0].Close()
	proxytest.Eventually(t, func() error {
		c, res := p.connectAs(t, "x", "tunnel.example:7")
		defer c.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
	for _, c := range silent {
		c.Close()
	}
	p.noneHeld(t)
}

// TestSilentConnectionsHoldLittle has connections on which nothing comes. net/http, which has
// buffers for each, does not know them. They end when the proxy is stopped.
func TestSilentConnectionsHoldLittle(t *testing.T) {
	t.Parallel()
	const n = 50
	p := newProxy(t, "")
	var known atomic.Int64
	p.front.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			known.Add(1)
		}
	}
	p.serve(t)
	var silent []*proxytest.RawConn
	for range n {
		silent = append(silent, p.dial(t))
	}
	proxytest.Eventually(t, func() error {
		if n := p.places.clients.InUse(); n != len(silent) {
			return fmt.Errorf("%d places are taken", n)
		}
		return nil
	})
	p.connect(t, proxytest.Host+":443").Close()
	if got := known.Load(); got != 1 {
		t.Errorf("net/http has accepted %d connections, want the one that has sent something", got)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range silent {
		if _, err := c.R.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	}
	p.noneHeld(t)
}

// TestOtherProtocols tells clients off that speak TLS or SOCKS, at once and in their own
// protocol, and logs it.
func TestOtherProtocols(t *testing.T) {
	t.Parallel()
	p := echoing(t, access.Limits{HandshakeTimeout: time.Hour})
	if _, err := tls.Dial("tcp", p.addr, &tls.Config{ServerName: "x"}); err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("TLS: %v", err)
	}
	for sent, want := range map[string]string{"\x05\x01\x00": "\x05\xff", "\x04\x01\x01\xbb\x00\x00\x00\x01x\x00": "\x00\x5b\x00\x00\x00\x00\x00\x00"} {
		c := p.dial(t)
		if _, err := io.WriteString(c.Conn, sent); err != nil {
			t.Fatal(err)
		}
		c.Expect(t, want)
		c.ExpectEOF(t)
		c.Close()
	}
	p.logged(t, "not_http", "speaks TLS")
	p.noneHeld(t)
}

// TestTurnedAwayLimit has very many clients come when all places are taken, and
// say nothing. Those that are waited for are few.
func TestTurnedAwayLimit(t *testing.T) {
	t.Parallel()
	p := echoing(t, access.Limits{Connections: 1})
	c := p.connect(t, "tunnel.example:7")
	var ended atomic.Int64
	for range 3 * maxTurnedAway {
		waiting := p.dial(t)
		go func() {
			if _, err := waiting.R.ReadByte(); err == nil {
				t.Error("a client that said nothing was answered")
			}
			ended.Add(1)
		}()
	}
	proxytest.Eventually(t, func() error {
		waited := 0
		for _, stack := range proxytest.Goroutines() {
			if strings.Contains(stack, ".(*Proxy).turnAway.") {
				waited++
			}
		}
		if waited > 3*maxTurnedAway/2 { // those of other tests among them
			t.Fatalf("%d clients are waited for", waited)
		}
		if n := ended.Load(); n < 2*maxTurnedAway {
			return fmt.Errorf("%d connections have ended", n)
		}
		return nil
	})
	c.Send(t, "x")
	c.Expect(t, "x")
}

// TestLabelLimit has one label take all that it may have, by CONNECTs after
// which no TLS comes, tunnels and plain requests. Other labels are served.
func TestLabelLimit(t *testing.T) {
	t.Parallel()
	quiet := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, take := range map[string]func(t *testing.T, p *testProxy) *proxytest.RawConn{
		"CONNECT without TLS": func(t *testing.T, p *testProxy) *proxytest.RawConn {
			c, res := p.connectAs(t, "greedy", proxytest.Host+":443")
			if res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			return c
		},
		"tunnels": func(t *testing.T, p *testProxy) *proxytest.RawConn {
			c, res := p.connectAs(t, "greedy", "tunnel.example:7")
			if res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			return c
		},
		"idle connections": func(t *testing.T, p *testProxy) *proxytest.RawConn {
			c := p.dial(t)
			c.Send(t, "GET http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("greedy", ""))
			proxytest.ReadAll(t, c.Response(t, http.MethodGet).Body)
			return c
		},
		"plain requests": func(t *testing.T, p *testProxy) *proxytest.RawConn {
			c := p.dial(t)
			c.Send(t, "GET http://plain.example/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("greedy", ""))
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 5
			address, reached := countingBackend(t)
			p := startProxy(t, address, func(c *Config) {
				c.Limits = access.Limits{ConnectionsPerLabel: most}
				c.Upstream.ConnectTo["plain.example:80"] = quiet
				c.Upstream.ConnectTo["tunnel.example:7"] = quiet
			})
			var taken []*proxytest.RawConn
			for range most {
				taken = append(taken, take(t, p))
			}
			proxytest.Eventually(t, func() error {
				if n := p.places.labels.InUse(); n != most {
					return fmt.Errorf("%d are counted", n)
				}
				return nil
			})
			for _, authority := range []string{proxytest.Host + ":443", "tunnel.example:7"} {
				c, res := p.connectAs(t, "greedy", authority)
				message := proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
				if !strings.Contains(message, "limits.connections_per_label") {
					t.Errorf("message %q", message)
				}
				c.ExpectEOF(t) // or it would take a place from all
			}
			res := proxytest.Get(t, p.clientAs(t, proxytest.H1, url.UserPassword("greedy", "")), "http://plain.example/")
			proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
			for _, user := range []*url.Userinfo{url.UserPassword("modest", ""), nil} {
				if res := proxytest.Get(t, p.clientAs(t, proxytest.H2, user), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
					t.Errorf("%s is answered %s", user, res.Status)
				}
			}
			if reached.Load() != 2 {
				t.Errorf("%d requests reached the server", reached.Load())
			}
			for _, c := range taken {
				c.Close()
			}
			proxytest.Eventually(t, func() error {
				c, res := p.connectAs(t, "greedy", "tunnel.example:7")
				defer c.Close()
				if res.StatusCode != http.StatusOK {
					return errors.New(res.Status)
				}
				return nil
			})
		})
	}
}

// TestConnectFlood has a client open one CONNECT after the other without a word of
// TLS. It gets no further than its limit, and another one is served throughout.
func TestConnectFlood(t *testing.T) {
	t.Parallel()
	const most, flood = 20, 500
	p := echoing(t, access.Limits{Connections: 2 * most, ConnectionsPerLabel: most, HandshakeTimeout: time.Hour})
	other := p.clientAs(t, proxytest.H2, url.UserPassword("other", ""))
	var stood []*proxytest.RawConn
	for i := range flood {
		c, res := p.connectAs(t, "greedy", proxytest.Host+":443")
		if res.StatusCode == http.StatusOK {
			stood = append(stood, c)
		} else {
			c.Close()
		}
		if i%10 == 0 {
			if res := proxytest.Get(t, other, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
		}
	}
	if len(stood) != most {
		t.Errorf("%d of them stand", len(stood))
	}
	for _, c := range stood {
		c.Close()
	}
	other.CloseIdleConnections()
	p.noneHeld(t)
}

// TestPlacesAreGivenBack has connections end in all the ways there are.
func TestPlacesAreGivenBack(t *testing.T) {
	check := proxytest.NoneLeft(t)
	t.Run("connections", func(t *testing.T) {
		backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Upgrade") != "":
				echoWebSocket(t, w, r)
			case r.URL.Path == "/abort":
				panic(http.ErrAbortHandler)
			}
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
			c.Upstream.ConnectTo["tunnel.example:7"] = proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			c.Upstream.ConnectTo["refusing.example:7"] = refusingAddress(t)
			c.Upstream.ConnectTo["plain.example:80"] = proxytest.NewRawServer(t, proxytest.PlainRecorder(make(chan []string, 10)))
		})
		for range 3 {
			p.dial(t).Close()
			p.connect(t, proxytest.Host+":443").Close()
			reset := p.connect(t, proxytest.Host+":443")
			_ = reset.Conn.(*net.TCPConn).SetLinger(0)
			reset.Close()
			bad := p.connect(t, proxytest.Host+":443")
			bad.Send(t, "no TLS at all\r\n\r\n")
			_, _ = io.Copy(io.Discard, bad.R)
			tunnel := p.connect(t, "tunnel.example:7")
			tunnel.Send(t, "x")
			tunnel.Expect(t, "x")
			tunnel.Close()
			for _, authority := range []string{"refusing.example:7", "bad:host:7", "127.0.0.1:1", "chatgpt.com:80"} {
				c := p.dial(t)
				c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", authority)
				_, _ = io.Copy(io.Discard, c.R)
			}
			for _, proto := range []string{proxytest.H1, proxytest.H2} {
				c := p.client(t, proto)
				for _, path := range []string{"/", "/abort"} {
					res := proxytest.Get(t, c, proxytest.Origin+path)
					proxytest.ReadAll(t, res.Body)
					res.Body.Close()
				}
				c.CloseIdleConnections()
			}
			c := p.client(t, proxytest.H1)
			proxytest.Get(t, c, "http://plain.example/").Body.Close()
			c.Timeout = 0
			socket, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: c})
			if err != nil {
				t.Fatal(err)
			}
			socket.CloseNow()
			c.CloseIdleConnections()
			half := p.intercepted(t)
			half.Send(t, "GET / HTTP/1.1\r\n")
			_ = half.Conn.(*tls.Conn).NetConn().Close()
		}
		p.noneHeld(t)
	})
	check()
}
