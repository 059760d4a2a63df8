package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	if key, err := DefaultLimits().Validate(); err != nil {
		t.Errorf("%s: %v", key, err)
	}
	for want, edit := range map[string]func(*Limits){
		"connections":           func(l *Limits) { l.Connections = -1 },
		"connections_per_label": func(l *Limits) { l.ConnectionsPerLabel = l.Connections + 1 },
		"header_bytes":          func(l *Limits) { l.HeaderBytes = 1 },
		"header_fields":         func(l *Limits) { l.HeaderFields = 1 },
		"handshake_timeout":     func(l *Limits) { l.HandshakeTimeout = time.Millisecond },
		"idle_timeout":          func(l *Limits) { l.IdleTimeout = 0 },
	} {
		l := DefaultLimits()
		edit(&l)
		if key, err := l.Validate(); key != want || err == nil {
			t.Errorf("%s, %v; want %s", key, err, want)
		}
	}
	if got := (Limits{HeaderBytes: 5}).orDefaults(); got.HeaderBytes != 5 || got.Connections != DefaultLimits().Connections {
		t.Errorf("%+v", got)
	}
}

// echoing starts a proxy with limits, tunnel.example:7 behind it, and an
// intercepted host that answers.
func echoing(t *testing.T, limits Limits) *testProxy {
	t.Helper()
	address, _ := countingBackend(t)
	return startProxy(t, address, func(c *Config) {
		c.Limits = limits
		c.Upstream.ConnectTo["tunnel.example:7"] = newRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	})
}

// connectAs sends a CONNECT of the client with a label.
func (p *testProxy) connectAs(t testing.TB, label, authority string) (*rawConn, *http.Response) {
	t.Helper()
	c := p.dial(t)
	c.send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", authority, basicAuth(label, ""))
	return c, c.response(t, http.MethodConnect)
}

// noneHeld waits until no connection is counted any more, and checks that
// nothing is remembered of those that were.
func (p *testProxy) noneHeld(t testing.TB) {
	t.Helper()
	eventually(t, func() error {
		for name, s := range map[string]*slots{"places": p.places, "labels": p.labels, "turned away": p.turnedAway} {
			s.mu.Lock()
			n := len(s.taken)
			s.mu.Unlock()
			if n > 0 {
				return fmt.Errorf("%s: %d are still held", name, s.held())
			}
		}
		return nil
	})
}

// TestConnectionLimit answers those who come when all places are taken, and
// serves again as soon as one is free. Who is being served is not touched.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	p := echoing(t, Limits{Connections: 3})
	held := []*rawConn{p.connect(t, "tunnel.example:7"), p.connect(t, host+":443"), p.dial(t)}
	eventually(t, func() error {
		if n := p.places.held(); n != 3 {
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
	// With a request so large that its sender would be cut off by a reset.
	c := p.dial(t)
	c.send(t, "POST http://a.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n%s", strings.Repeat("b", 60000))
	wantRefusal(t, c.response(t, http.MethodPost), http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")

	held[0].send(t, "still here")
	held[0].expect(t, "still here")
	held[2].Close()
	eventually(t, func() error {
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

// TestTurnedAwayLimit has very many clients come when all places are taken, and
// say nothing. Those that are waited for are few.
func TestTurnedAwayLimit(t *testing.T) {
	t.Parallel()
	p := echoing(t, Limits{Connections: 1})
	c := p.connect(t, "tunnel.example:7")
	closed := 0
	var waiting []*rawConn
	for range 3 * maxTurnedAway {
		waiting = append(waiting, p.dial(t))
	}
	for _, w := range waiting {
		w.SetReadDeadline(time.Now().Add(patience))
		if _, err := w.r.ReadByte(); err == nil {
			t.Error("a client that said nothing was answered")
		}
		closed++
	}
	if n := p.turnedAway.held(); n > maxTurnedAway {
		t.Errorf("%d clients are waited for", n)
	}
	c.send(t, "x")
	c.expect(t, "x")
}

// TestLabelLimit has one label take all that it may have, by CONNECTs after
// which no TLS comes, tunnels and plain requests. Other labels are served.
func TestLabelLimit(t *testing.T) {
	t.Parallel()
	quiet := newRawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	for name, take := range map[string]func(t *testing.T, p *testProxy) *rawConn{
		"CONNECT without TLS": func(t *testing.T, p *testProxy) *rawConn {
			c, res := p.connectAs(t, "greedy", host+":443")
			if res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			return c
		},
		"tunnels": func(t *testing.T, p *testProxy) *rawConn {
			c, res := p.connectAs(t, "greedy", "tunnel.example:7")
			if res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			return c
		},
		"idle connections": func(t *testing.T, p *testProxy) *rawConn {
			c := p.dial(t)
			c.send(t, "GET http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", basicAuth("greedy", ""))
			readAll(t, c.response(t, http.MethodGet).Body)
			return c
		},
		"plain requests": func(t *testing.T, p *testProxy) *rawConn {
			c := p.dial(t)
			c.send(t, "GET http://plain.example/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", basicAuth("greedy", ""))
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 5
			address, reached := countingBackend(t)
			p := startProxy(t, address, func(c *Config) {
				c.Limits = Limits{ConnectionsPerLabel: most}
				c.Upstream.ConnectTo["plain.example:80"] = quiet
				c.Upstream.ConnectTo["tunnel.example:7"] = quiet
			})
			var taken []*rawConn
			for range most {
				taken = append(taken, take(t, p))
			}
			eventually(t, func() error {
				if n := p.labels.held(); n != most {
					return fmt.Errorf("%d are counted", n)
				}
				return nil
			})
			for _, authority := range []string{host + ":443", "tunnel.example:7"} {
				c, res := p.connectAs(t, "greedy", authority)
				message := wantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
				if !strings.Contains(message, "limits.connections_per_label") {
					t.Errorf("message %q", message)
				}
				c.expectEOF(t) // or it would take a place from all
			}
			res := get(t, p.clientAs(t, h1, userPassword("greedy", "")), "http://plain.example/")
			wantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
			for _, user := range []*url.Userinfo{userPassword("modest", ""), nil} {
				if res := get(t, p.clientAs(t, h2, user), origin+"/"); res.StatusCode != http.StatusOK {
					t.Errorf("%s is answered %s", user, res.Status)
				}
			}
			if reached.Load() != 2 {
				t.Errorf("%d requests reached the server", reached.Load())
			}
			for _, c := range taken {
				c.Close()
			}
			eventually(t, func() error {
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
	p := echoing(t, Limits{Connections: 2 * most, ConnectionsPerLabel: most})
	other := p.clientAs(t, h2, userPassword("other", ""))
	var stood []*rawConn
	for i := range flood {
		c, res := p.connectAs(t, "greedy", host+":443")
		if res.StatusCode == http.StatusOK {
			stood = append(stood, c)
		} else {
			c.Close()
		}
		if i%10 == 0 {
			if res := get(t, other, origin+"/"); res.StatusCode != http.StatusOK {
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

// TestSlowHandshakes has clients that begin something and never finish it. Their
// connections end; a stream that is silent for longer does not.
func TestSlowHandshakes(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	backend := newBackend(t, h2, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-next:
			_, _ = io.WriteString(w, "at last")
		case <-r.Context().Done():
		}
	})
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Limits = Limits{HandshakeTimeout: 500 * time.Millisecond}
	})
	quiet := map[string]*http.Response{}
	for _, proto := range []string{h1, h2} {
		quiet[proto] = get(t, p.client(t, proto), origin+"/")
	}
	begun := map[string]*rawConn{"nothing": p.dial(t), "CONNECT and no TLS": p.connect(t, host+":443")}
	for name, sent := range map[string]string{
		"half a CONNECT":      "CONNECT chatgpt.com:443 HTTP/1.1\r\nHo",
		"half a plain header": "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX-A:",
	} {
		begun[name] = p.dial(t)
		begun[name].send(t, "%s", sent)
	}
	begun["half a ClientHello"] = p.connect(t, host+":443")
	begun["half a ClientHello"].send(t, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	begun["TLS and no request"] = p.intercepted(t)
	begun["half a header"] = p.intercepted(t)
	begun["half a header"].send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nX-")
	for name, c := range begun {
		if _, err := io.Copy(io.Discard, c.r); errors.Is(err, errTimeout(err)) {
			t.Errorf("%s: the connection does not end", name)
		}
	}
	close(next)
	for proto, res := range quiet {
		if body := readAll(t, res.Body); body != "at last" {
			t.Errorf("%s: %q", proto, body)
		}
	}
}

// errTimeout returns err if it is that the test's own patience has ended.
func errTimeout(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return err
	}
	return errors.New("another error")
}

// TestHeaderLimits has headers of too many bytes and too many fields.
func TestHeaderLimits(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "X%d:\r\n", i)
		}
		return b.String()
	}
	for name, header := range map[string]string{
		"many fields":         many(2000),
		"many of one name":    strings.Repeat("X:\r\n", 2000),
		"fields without end":  many(100_000),
		"a value without end": "X: " + strings.Repeat("v", 1<<20) + "\r\n",
		"a name without end":  strings.Repeat("n", 1<<20) + ": v\r\n",
	} {
		for where, head := range map[string]string{
			"intercepted": "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n",
			"CONNECT":     "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n",
			"plain":       "GET http://chatgpt.com/ HTTP/1.1\r\nHost: x\r\n",
		} {
			c := p.dial(t)
			if where == "intercepted" {
				c = p.intercepted(t)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(c.Conn, head+header+"\r\n")
			}()
			if res := c.response(t, http.MethodGet); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s, %s: %s", name, where, res.Status)
			}
			c.Close()
			<-sent
		}
	}
	c := p.h2(t)
	c.request(t, 1, with(strings.Split(strings.Repeat("x,,", 2000), ",")[:4000]...)...)
	if got := c.status(t, 1); got != "431" {
		t.Errorf("many fields, h2: %s", got)
	}
	c.request(t, 3, ask...)
	if got := c.status(t, 3); got != "200" {
		t.Errorf("afterwards: %s", got)
	}
	if reached.Load() != 1 {
		t.Errorf("%d requests reached the server", reached.Load())
	}
}

// TestPlacesAreGivenBack has connections end in all the ways there are.
func TestPlacesAreGivenBack(t *testing.T) {
	check := noneLeft(t)
	t.Run("connections", func(t *testing.T) {
		backend := newBackend(t, h1, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Header.Get("Upgrade") != "":
				echoWebSocket(t, w, r)
			case r.URL.Path == "/abort":
				panic(http.ErrAbortHandler)
			}
		})
		refusing, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		refusing.Close()
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
			c.Upstream.ConnectTo["tunnel.example:7"] = newRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			c.Upstream.ConnectTo["refusing.example:7"] = refusing.Addr().String()
			c.Upstream.ConnectTo["plain.example:80"] = newRawServer(t, plainRecorder(make(chan []string, 10)))
		})
		for range 3 {
			p.dial(t).Close()
			p.connect(t, host+":443").Close()
			reset := p.connect(t, host+":443")
			_ = reset.Conn.(*net.TCPConn).SetLinger(0)
			reset.Close()
			bad := p.connect(t, host+":443")
			bad.send(t, "no TLS at all\r\n\r\n")
			_, _ = io.Copy(io.Discard, bad.r)
			tunnel := p.connect(t, "tunnel.example:7")
			tunnel.send(t, "x")
			tunnel.expect(t, "x")
			tunnel.Close()
			for _, authority := range []string{"refusing.example:7", "bad:host:7", "127.0.0.1:1", "chatgpt.com:80"} {
				c := p.dial(t)
				c.send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", authority)
				_, _ = io.Copy(io.Discard, c.r)
			}
			for _, proto := range []string{h1, h2} {
				c := p.client(t, proto)
				for _, path := range []string{"/", "/abort"} {
					res := get(t, c, origin+path)
					readAll(t, res.Body)
					res.Body.Close()
				}
				c.CloseIdleConnections()
			}
			c := p.client(t, h1)
			get(t, c, "http://plain.example/").Body.Close()
			c.Timeout = 0
			socket, _, err := websocket.Dial(t.Context(), "wss://"+host+"/", &websocket.DialOptions{HTTPClient: c})
			if err != nil {
				t.Fatal(err)
			}
			socket.CloseNow()
			c.CloseIdleConnections()
			half := p.intercepted(t)
			half.send(t, "GET / HTTP/1.1\r\n")
			_ = half.Conn.(*tls.Conn).NetConn().Close()
		}
		p.noneHeld(t)
	})
	check()
}
