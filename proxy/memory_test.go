package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestBounds: what is divided is the memory that is configured, else the process's.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ memory, unread int64 }{{64 << 20, 16 << 20}, {0, live.DefaultMemory / 4}} {
		b := boundsOf(access.Limits{Memory: test.memory, RequestsPerLabel: 7})
		if b.Unread.All != test.unread || b.Requests != 7 {
			t.Errorf("%d: %+v", test.memory, b)
		}
		if sum := b.Unread.All + b.Bodies.All + b.Heads.All + b.Strangers; sum != 2*test.unread {
			t.Errorf("%d: %d bytes are divided", test.memory, sum)
		}
	}
}

// TestRequestsPerLabel has a client run as many requests as its label may. One more is
// told when to come again, and so is a tunnel; another label is served.
func TestRequestsPerLabel(t *testing.T) {
	t.Parallel()
	const most = 5
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		release := make(chan struct{})
		running := make(chan struct{}, most)
		backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				running <- struct{}{}
				<-release
			}
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Limits.RequestsPerLabel = most })
		client := p.clientAs(t, proto, url.User("greedy"))
		done := make(chan struct{})
		for range most {
			go func() {
				defer func() { done <- struct{}{} }()
				if res, err := client.Get(proxytest.Origin + "/wait"); err == nil {
					res.Body.Close()
				} else {
					t.Error(err)
				}
			}()
		}
		for range most {
			proxytest.Wait(t, "a request runs", running)
		}
		res := proxytest.Get(t, client, proxytest.Origin+"/")
		if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s", res.Status, body)
		}
		if _, res := p.connectAs(t, "greedy", "127.0.0.1:9"); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a tunnel: %s", res.Status)
		}
		if res := proxytest.Get(t, p.clientAs(t, proto, url.User("other")), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Errorf("another label: %s", res.Status)
		}
		close(release)
		for range most {
			proxytest.Wait(t, "a request ends", done)
		}
		proxytest.Eventually(t, func() error {
			if res := proxytest.Get(t, client, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				return io.ErrNoProgress
			}
			return nil
		})
	})
}

// TestStrangersHeads has clients that are not admitted yet begin headers and not end
// them. When there is no room for more, the next one that begins a long one is told so,
// and one with a short one is served.
func TestStrangersHeads(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	const memory = 16 << 20
	p := startProxy(t, address, func(c *Config) { c.Limits.Memory = memory })
	const head = 30 << 10
	room := live.BoundsOf(memory, 1).Strangers
	start := fmt.Sprintf("CONNECT %s:443 HTTP/1.1\r\nX: ", proxytest.Host)
	start += strings.Repeat("x", head-len(start))
	each := netconn.HeadCost([]byte(start)) - netconn.FreeHead
	begin := func() *proxytest.RawConn {
		c := p.dial(t)
		c.Send(t, "%s", start)
		return c
	}
	// left waits until so much room is left, when what was sent has been read.
	left := func(most int64) {
		t.Helper()
		proxytest.Eventually(t, func() error {
			if p.live.set.TakeHead(most + 1) {
				p.live.set.TakeHead(-most - 1)
				return fmt.Errorf("there is room for more than %d bytes", most)
			}
			if !p.live.set.TakeHead(most) {
				return fmt.Errorf("there is no room for %d bytes", most)
			}
			p.live.set.TakeHead(-most)
			return nil
		})
	}
	var conns []*proxytest.RawConn
	for range room / each {
		conns = append(conns, begin())
	}
	left(room % each)
	conns = append(conns, begin())
	type answer struct {
		conn   int
		status int
		body   string
	}
	answers := make(chan answer, len(conns))
	for i, c := range conns {
		go func() {
			res, err := http.ReadResponse(c.R, &http.Request{Method: http.MethodConnect})
			if err != nil {
				return // it was closed
			}
			var body []byte
			if res.StatusCode != http.StatusOK { // after which it is a tunnel
				body, _ = io.ReadAll(io.LimitReader(res.Body, 1<<10))
			}
			answers <- answer{i, res.StatusCode, string(body)}
		}()
	}
	await := func() (a answer) {
		t.Helper()
		select {
		case a = <-answers:
		case <-time.After(proxytest.Patience):
			t.Fatal("waited in vain for an answer")
		}
		return a
	}
	refused := await()
	if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.body, `"busy"`) {
		t.Errorf("%+v", refused)
	}
	if res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	left(room % each) // for the refused one gives back what it had
	begun := (refused.conn + 1) % len(conns)
	conns[begun].Send(t, "\r\nHost: x\r\n\r\n")
	if ended := await(); ended.conn != begun || ended.status != http.StatusOK {
		t.Errorf("what had begun: %+v", ended)
	}
	for _, c := range conns {
		c.Close()
	}
	proxytest.Eventually(t, func() error {
		if !p.live.set.TakeHead(memory / 16) {
			return io.ErrNoProgress
		}
		p.live.set.TakeHead(-memory / 16)
		return nil
	})
}

// TestHeadsInTunnels has an admitted client begin heads inside its tunnels and not end them,
// over both versions. Beyond its share the next is refused, clients of other labels are
// served, and what was begun can be ended.
func TestHeadsInTunnels(t *testing.T) {
	t.Parallel()
	const head = 40 << 10
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", proxytest.Host}, {":path", "/"}, {"x", strings.Repeat("x", head)}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	const piece = 16000
	for _, test := range []struct {
		proto string
		begin func(t *testing.T, c *proxytest.RawConn) (end func() (status string))
		each  int64 // that is counted
	}{
		{proxytest.H1, func(t *testing.T, c *proxytest.RawConn) func() string {
			c.Send(t, "GET / HTTP/1.1\r\nHost: %s\r\nX: %s", proxytest.Host, strings.Repeat("x", head))
			return func() string {
				c.Send(t, "\r\n\r\n")
				return c.Response(t, http.MethodGet).Status[:3]
			}
		}, head - netconn.FreeHead},
		{proxytest.H2, func(t *testing.T, raw *proxytest.RawConn) func() string {
			c := newH2Conn(t, raw)
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes()[:piece], EndStream: true})
			return func() string {
				_ = c.framer.WriteContinuation(1, false, block.Bytes()[piece:2*piece])
				_ = c.framer.WriteContinuation(1, true, block.Bytes()[2*piece:])
				return c.status(t, 1)
			}
		}, 5 * int64(access.DefaultLimits().HeaderBytes) / 2},
	} {
		t.Run(test.proto, func(t *testing.T) {
			t.Parallel()
			address, _ := countingBackend(t)
			memory := 256 * test.each // of which a label's heads have a thirty-second
			p := startProxy(t, address, func(c *Config) { c.Limits.Memory = memory })
			protos := []string{"http/1.1"}
			if test.proto == proxytest.H2 {
				protos = []string{"h2"}
			}
			tunnel := func() *proxytest.RawConn {
				c := p.dial(t)
				c.Send(t, "CONNECT %s:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.Host, proxytest.BasicAuth("hoarder", ""))
				if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
					t.Fatal(res.Status)
				}
				return proxytest.Secure(t, c, &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host, NextProtos: protos})
			}
			var conns []*proxytest.RawConn
			var end func() string
			for range memory / 32 / test.each {
				c := tunnel()
				end = test.begin(t, c)
				conns = append(conns, c)
			}
			proxytest.Eventually(t, func() error {
				if p.live.set.TakeHeadOf("hoarder", test.each) {
					p.live.set.TakeHeadOf("hoarder", -test.each)
					return io.ErrNoProgress // not all of them were read
				}
				return nil
			})
			next := tunnel()
			test.begin(t, next)
			if test.proto == proxytest.H1 {
				res := next.Response(t, http.MethodGet)
				if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) || res.Header.Get("Retry-After") == "" {
					t.Errorf("%s %s", res.Status, body)
				}
			} else if rest, err := io.ReadAll(next.R); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes, %v: the connection is still open", len(rest), err)
			}
			if res := proxytest.Get(t, p.client(t, test.proto), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
			if status := end(); status != "200" {
				t.Errorf("what had begun: %s", status)
			}
			for _, c := range conns {
				c.Close()
			}
			proxytest.Eventually(t, func() error {
				if !p.live.set.TakeHeadOf("hoarder", memory/32) {
					return io.ErrNoProgress
				}
				p.live.set.TakeHeadOf("hoarder", -memory/32)
				return nil
			})
		})
	}
}

// TestStrangersHeadsAreSmall refuses what is longer than the header of any client that
// has yet to be admitted.
func TestStrangersHeadsAreSmall(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address)
	c := p.dial(t)
	c.Send(t, "CONNECT %s:443 HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", proxytest.Host, strings.Repeat("x", 40<<10))
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(res.Status)
	}
}

// TestStrangersAnsweredHeads has a client that is not admitted send far more than there is
// for strangers, and be answered each time: nothing of it is held then, and one that
// authenticates has room for its head.
func TestStrangersAnsweredHeads(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	const memory = 16 << 20
	p := startProxy(t, address, func(c *Config) {
		c.Limits.Memory = memory
		c.Clients = access.Config{Token: "sekret"}
	})
	stranger := p.dial(t)
	const head = 16 << 10
	for i := range 2 * live.BoundsOf(memory, 1).Strangers / head {
		stranger.Send(t, "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nX: %s\r\n\r\n", strings.Repeat("x", head))
		res := stranger.Response(t, http.MethodGet)
		proxytest.ReadAll(t, res.Body)
		if res.StatusCode != http.StatusProxyAuthRequired || res.Close {
			t.Fatalf("request %d: %s, closed: %t", i, res.Status, res.Close)
		}
	}
	c := p.dial(t)
	c.Send(t, "CONNECT %s:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\nX: %s\r\n\r\n", proxytest.Host, proxytest.BasicAuth("a", "sekret"), strings.Repeat("x", head))
	if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Errorf("with the token: %s", res.Status)
	}
}

// TestUnreadWebSockets has a client open WebSockets and read none of what they bring, until
// its label gets nothing more. Another label is served, and so is this one when they end.
func TestUnreadWebSockets(t *testing.T) {
	t.Parallel()
	much := bytes.Repeat([]byte{0x82, 125}, 1<<17)
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		if !message.IsUpgrade(r) {
			return
		}
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for err == nil {
			_, err = conn.Write(much)
		}
	})
	const memory = 8 * 16 * upgradedUnread // so that sixteen reach a label's share
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Limits.Memory = memory })
	var conns []*proxytest.RawConn
	for range live.BoundsOf(memory, 1).Unread.Label / upgradedUnread {
		c := p.intercepted(t, "http/1.1")
		c.Send(t, "GET /backend-api/codex/responses HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", proxytest.Host)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res.Status)
		}
		conns = append(conns, c)
	}
	client := p.client(t, proxytest.H1)
	until := func(status int) {
		t.Helper()
		proxytest.Eventually(t, func() error {
			res := proxytest.Get(t, client, proxytest.Origin+"/")
			if body := proxytest.ReadAll(t, res.Body); res.StatusCode != status {
				return fmt.Errorf("%s %s, want %d", res.Status, body, status)
			}
			return nil
		})
	}
	until(http.StatusServiceUnavailable)
	if res := proxytest.Get(t, p.clientAs(t, proxytest.H1, url.User("other")), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
		t.Errorf("another label: %s", res.Status)
	}
	for _, c := range conns {
		c.Close()
	}
	until(http.StatusOK)
}

// TestClosedWindow has an HTTP/2 client take headers of responses and nothing of their
// content. They stay listed meanwhile, and are cut after the idle timeout.
func TestClosedWindow(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	start := func(t *testing.T, edit func(*Config)) (*testProxy, *h2Conn) {
		t.Helper()
		p := startProxy(t, backend.Listener.Addr().String(), edit)
		c := p.h2(t)
		if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			t.Fatal(err)
		}
		return p, c
	}
	want := func(t *testing.T, c *h2Conn, stream uint32, statuses ...string) {
		t.Helper()
		for _, status := range statuses {
			if got := c.status(t, stream); got != status {
				t.Fatalf("stream %d: %s, want %s", stream, got, status)
			}
		}
	}
	noneRuns := func(t *testing.T, p *testProxy) {
		t.Helper()
		proxytest.Eventually(t, func() error {
			if running := p.Running(10); len(running) > 0 {
				return fmt.Errorf("these run: %v", running)
			}
			return nil
		})
	}
	trace := append([]string{":method", "TRACE"}, ask[2:]...)
	for _, test := range []struct {
		name, status string
		fields       []string
	}{{"forwarded", "200", ask}, {"refused", "405", trace}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, c := start(t, func(c *Config) { c.Limits.IdleTimeout = time.Second })
			c.request(t, 1, test.fields...)
			want(t, c, 1, test.status, "closed") // it has the connection for itself
			noneRuns(t, p)
		})
	}
	t.Run("beside another", func(t *testing.T) {
		t.Parallel()
		p, c := start(t, func(c *Config) { c.Limits.IdleTimeout = time.Second })
		c.open(t, 1, append([]string{":method", "POST"}, ask[2:]...)...) // whose body does not end
		c.request(t, 3, ask...)
		want(t, c, 3, "200", "reset")
		proxytest.Eventually(t, func() error {
			if running := p.Running(10); len(running) != 1 {
				return fmt.Errorf("%v run", running)
			}
			return nil
		})
	})
	// What was not admitted is not listed, and does not wait for as long.
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		p, c := start(t, func(c *Config) { c.Limits.RequestsPerLabel = 1 })
		c.request(t, 1, ask...)
		want(t, c, 1, "200")
		if running := p.Running(10); len(running) != 1 {
			t.Errorf("%v run", running)
		}
		c.request(t, 3, ask...)
		want(t, c, 3, "503", "reset")
		if err := c.framer.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
			t.Fatal(err)
		}
		noneRuns(t, p)
	})
}
