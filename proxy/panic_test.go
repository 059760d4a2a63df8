package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// brokenLeaves are leaves of which one panics.
type brokenLeaves struct{ Leaves }

func (l brokenLeaves) Leaf(host string) (*tls.Certificate, error) {
	if host == "broken."+proxytest.Host {
		panic("no leaf")
	}
	return l.Leaves.Leaf(host)
}

// TestPanicEndsOneConnection has the program make a mistake on the goroutines of a connection,
// which ends that one alone, and is an error in the log.
func TestPanicEndsOneConnection(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address, func(c *Config) {
		c.Leaves = brokenLeaves{c.Leaves}
		c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
			if r.Path == "/panic" {
				panic("no signature")
			}
			return proxytest.Bearer(), nil
		})
	})
	innocent := p.intercepted(t)
	ask := func() {
		t.Helper()
		innocent.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
		if res := innocent.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		} else {
			proxytest.ReadAll(t, res.Body)
		}
	}
	ask()
	c := p.connect(t, "broken."+proxytest.Host+":443")
	if err := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	ask()
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		if res, err := p.client(t, proto).Get(proxytest.Origin + "/panic"); err == nil {
			res.Body.Close()
			t.Errorf("%s: answered", proto)
		}
	}
	ask()
	p.logged(t, `"level":"error","from":"net/http","message":"http: panic serving`, "no leaf", "no signature",
		`"level":"error","from":"net/http","message":"http2: panic serving`)
}

// TestPanicReadingBody has the reading of a request's body panic, as it may on the goroutine of
// a transport.
func TestPanicReadingBody(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	defer p.cutNow()
	b := &outgoingBody{body: readerFunc(func([]byte) (int, error) { panic("no body") }), x: &exchange{policy: p.current()}}
	n, err := b.Read(make([]byte, 5))
	if _, ok := errors.AsType[*contain.PanicError](err); n != 0 || !ok {
		t.Errorf("%d, %v", n, err)
	}
	if log := p.log.String(); !strings.Contains(log, `"level":"error"`) || !strings.Contains(log, "TestPanicReadingBody") || strings.Contains(log, "no body") {
		t.Error(log)
	}
}

// brokenConn is a connection to a server that panics once when it is written to.
type brokenConn struct {
	net.Conn
	panics *atomic.Bool
}

func (c brokenConn) Write(p []byte) (int, error) {
	if c.panics.CompareAndSwap(true, false) {
		panic("no writing")
	}
	return c.Conn.Write(p)
}

// TestPanicOnAnyGoroutine has the program make a mistake on goroutines on which nothing of
// net/http recovers from it. It ends what it is about alone, and is an error in the log.
func TestPanicOnAnyGoroutine(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for range 2 {
			_ = conn.Write(r.Context(), websocket.MessageText, []byte(usedEvent))
		}
		_, _, _ = conn.Read(r.Context())
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	address := backend.Listener.Addr().String()
	webSocket := func(t *testing.T, p *testProxy, server string) *websocket.Conn {
		t.Helper()
		c := p.client(t, proxytest.H1)
		c.Timeout = 0
		conn, _, err := websocket.Dial(t.Context(), "wss://"+server+"/backend-api/codex/responses", &websocket.DialOptions{
			HTTPClient: c, CompressionMode: websocket.CompressionContextTakeover,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		return conn
	}
	ask := func(t *testing.T, p *testProxy, proto string) string {
		t.Helper()
		return proxytest.ReadAll(t, proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/").Body)
	}
	for name, test := range map[string]struct {
		edit func(c *Config)
		meet func(t *testing.T, p *testProxy, panics *atomic.Bool)
	}{
		"a tunnel": {nil, func(t *testing.T, p *testProxy, panics *atomic.Bool) {
			server := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			c := p.connect(t, server)
			c.Send(t, "x")
			c.Expect(t, "x")
			panics.Store(true)
			c.Send(t, "y")
			c.ExpectEOF(t)
		}},
		"an upgrade": {nil, func(t *testing.T, p *testProxy, panics *atomic.Bool) {
			conn := webSocket(t, p, proxytest.Host)
			for range 2 {
				if _, _, err := conn.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			panics.Store(true)
			_ = conn.Write(t.Context(), websocket.MessageText, []byte("x"))
			if _, _, err := conn.Read(t.Context()); err == nil {
				t.Error("it was answered")
			}
		}},
		"a connection to a server": {func(c *Config) {
			dial := c.Upstream.Dial
			c.Upstream.Dial = func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
				conn, err := dial(ctx, by, address)
				if panics := conn.(brokenConn).panics; panics.CompareAndSwap(true, false) {
					conn.Close()
					panic("no connection")
				}
				return conn, err
			}
		}, func(t *testing.T, p *testProxy, panics *atomic.Bool) {
			panics.Store(true)
			if got := ask(t, p, proxytest.H2); !strings.Contains(got, "agentproxy has made a mistake") {
				t.Errorf("answered %q", got)
			}
		}},
		"reading along": {func(c *Config) {
			c.ObserveUsage = func(usage.Entry) { panic("no usage") }
		}, func(t *testing.T, p *testProxy, _ *atomic.Bool) {
			conn := webSocket(t, p, proxytest.Host)
			for range 2 {
				if _, heard, err := conn.Read(t.Context()); err != nil || string(heard) != usedEvent {
					t.Fatalf("%q, %v", heard, err)
				}
			}
			_ = conn.Write(t.Context(), websocket.MessageText, []byte("x"))
			if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Error(err)
			}
		}},
		"turning away": {func(c *Config) {
			c.Limits.Connections = 1
			c.Observe = func(o Outcome) {
				if o.Kind == KindConnection {
					panic("no place")
				}
			}
		}, func(t *testing.T, p *testProxy, _ *atomic.Bool) {
			c := p.intercepted(t)
			p.dial(t).ExpectEOF(t)
			c.Conn.Close()
			proxytest.Eventually(t, func() error {
				giveBack := p.places.all.Take("", 1)
				if giveBack == nil {
					return errors.New("the place is taken")
				}
				giveBack()
				return nil
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			panics := new(atomic.Bool)
			p := startProxy(t, address, func(c *Config) {
				c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				c.Upstream.Dial = func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
					conn, err := by.DialContext(ctx, "tcp", address)
					return brokenConn{conn, panics}, err
				}
				if test.edit != nil {
					test.edit(c)
				}
			})
			test.meet(t, p, panics)
			p.logged(t, `"level":"error"`, "panic: agentproxy has made a mistake (a panic with a string)", "panic_test.go")
			if log := p.log.String(); strings.Contains(log, `"no `) {
				t.Error("the log has the words of the panic")
			}
			if ask(t, p, proxytest.H1); panics.Load() {
				t.Error("nothing has panicked")
			}
		})
	}
}

// TestPanicAtEndOfUpgrade has the program make a mistake when it half closes the connection to the
// server of an upgrade, which closes both.
func TestPanicAtEndOfUpgrade(t *testing.T) {
	t.Parallel()
	var panics atomic.Bool
	closed := make(chan struct{})
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		_, _ = proxytest.RequestHead(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		close(closed)
	})
	p := startProxy(t, address, func(c *Config) {
		c.Upstream.Dial = func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
			conn, err := by.DialContext(ctx, "tcp", address)
			return brokenConn{conn, &panics}, err
		}
	})
	c := p.intercepted(t)
	c.Send(t, upgradeRequest, "tcp")
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	panics.Store(true)
	closeWriteOf(t, c.Conn)
	_, _ = io.Copy(io.Discard, c.R) // until it is closed
	proxytest.Wait(t, "the server's connection is closed", closed)
	p.logged(t, "panic: agentproxy has made a mistake (a panic with a string)", `"status":101`)
	p.noneHeld(t)
}

// hijacked is a response whose connection panics when the header is written to it.
type hijacked struct {
	http.ResponseWriter
	conn   net.Conn
	panics atomic.Bool
}

// Hijack implements [http.Hijacker].
func (w *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.panics.Store(true)
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(brokenConn{w.conn, &w.panics})), nil
}

// TestPanicAnsweringUpgrade has the program make a mistake when it passes on that the server
// switches protocols. Both connections are closed.
func TestPanicAnsweringUpgrade(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	defer p.cutNow()
	near, client := net.Pipe()
	far, server := net.Pipe()
	x := &exchange{ResponseWriter: &hijacked{conn: near}, policy: p.current(), facts: facts{kind: KindRequest, client: near}}
	x.webSocket.Store(true)
	res := &http.Response{StatusCode: http.StatusSwitchingProtocols, Request: proxytest.NewRequest(t, http.MethodGet, "/", nil), Body: &upgradedBody{far, far, x}}
	defer func() {
		if recover() != nil {
			t.Error("it panics, and nobody closes the connections")
		}
	}()
	new(forwarder).switchProtocols(x, res)
	x.goOn(t.Context())
	for name, conn := range map[string]net.Conn{"client": client, "server": server} {
		_ = conn.SetDeadline(time.Now().Add(proxytest.Patience))
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the %s reads %v", name, err)
		}
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
