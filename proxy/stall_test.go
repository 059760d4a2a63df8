package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// endless writes to w until that fails, and counts what it took.
func endless(w io.Writer, written *atomic.Int64) {
	chunk := make([]byte, 16<<10)
	for {
		n, err := w.Write(chunk)
		written.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestUnreadAnswer has clients that take no byte of what is sent to them. They
// are cut, while a stream that has nothing to send for as long is not.
func TestUnreadAnswer(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, server string) {
		cut := map[string]chan struct{}{"window": nil, "h1": nil, "upgrade": nil, "connection": nil}
		for name := range cut {
			cut[name] = make(chan struct{})
		}
		next := make(chan struct{})
		var written atomic.Int64
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			switch ended := cut[strings.TrimPrefix(r.URL.Path, "/")]; {
			case r.Header.Get("Upgrade") != "":
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				_ = rw.Flush()
				endless(conn, &written)
				close(ended)
			case ended != nil:
				endless(w, &written)
				close(ended)
			default:
				_ = http.NewResponseController(w).Flush()
				select {
				case <-next:
					_, _ = io.WriteString(w, "at last")
				case <-r.Context().Done():
				}
			}
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
			// It guards only the moment between a connection and its first request.
			c.Limits = access.Limits{IdleTimeout: 3 * time.Second}
		})
		quiet := map[string]*http.Response{}
		for _, proto := range []string{proxytest.H1, proxytest.H2} {
			quiet[proto] = proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/")
		}
		for name, header := range map[string]string{"h1": "", "upgrade": "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
			p.intercepted(t).Send(t, "GET /%s HTTP/1.1\r\nHost: chatgpt.com\r\n%s\r\n", name, header)
		}
		unread := p.h2(t)
		_ = unread.framer.WriteWindowUpdate(0, 1<<30)
		_ = unread.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		unread.request(t, 1, ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/connection")
		// One client of HTTP/2 reads what comes, but opens no window for the
		// stream; that is all it loses.
		c := p.h2(t)
		_ = c.framer.WriteWindowUpdate(0, 1<<20)
		c.request(t, 1, ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/window")
		c.request(t, 3, ask...)
		for {
			frame, err := c.framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if frame.Header().StreamID == 1 && frame.Header().Type == http2.FrameRSTStream {
				break
			}
		}
		for name, ended := range cut {
			proxytest.Wait(t, name+" is cut", ended)
		}

		close(next)
		for proto, res := range quiet {
			if body := proxytest.ReadAll(t, res.Body); body != "at last" {
				t.Errorf("%s: %q", proto, body)
			}
		}
		for {
			frame, err := c.framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamID == 3 {
				if string(data.Data()) != "at last" {
					t.Errorf("%q", data.Data())
				}
				break
			}
		}
	})
}

// unreadAnswers has a client ask for so many endless answers, of which it reads none, and counts
// what the server has written of each. Other answers say how many of those come on the same
// connection.
func unreadAnswers(t *testing.T, streams int) (p *testProxy, written []atomic.Int64) {
	t.Helper()
	written = make([]atomic.Int64, streams)
	var mu sync.Mutex
	beside := make(map[string]int)
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		var i int
		_, err := fmt.Sscanf(r.URL.Path, "/%d", &i)
		mu.Lock()
		if err == nil {
			beside[r.RemoteAddr]++
		}
		n := beside[r.RemoteAddr]
		mu.Unlock()
		if err == nil {
			endless(w, &written[i])
			return
		}
		fmt.Fprint(w, n)
	})
	p = startProxy(t, backend.Listener.Addr().String())
	c := p.h2(t)
	for i := range streams {
		c.request(t, uint32(2*i+1), ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", fmt.Sprint("/", i))
	}
	return p, written
}

// TestUnreadAnswersAreBounded measures how much of endless answers the proxy
// takes from the server while no client reads them.
func TestUnreadAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const streams, window, most = 20, 256 << 10, 512 << 10
	p, written := unreadAnswers(t, streams)
	proxytest.Eventually(t, func() error {
		for i := range written {
			if n := written[i].Load(); n < window {
				return fmt.Errorf("stream %d: %d bytes", i, n)
			}
		}
		return nil
	})
	other := p.client(t, proxytest.H2)
	for range 50 {
		if res := proxytest.Get(t, other, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	for i := range written {
		if n := written[i].Load(); n > most {
			t.Errorf("stream %d: the proxy took %d bytes that nobody read", i, n)
		}
	}
}

// TestManyUnreadAnswers has a client ask for many endless answers at a time, of which it reads
// none: of all but the first the server may send little, and what is asked afterwards gets the
// places that are left when the first have ended. All but a few come on other connections than
// the answers of others.
func TestManyUnreadAnswers(t *testing.T) {
	t.Parallel()
	const streams, first, shared = 60, 8 << 20 / upstream.Window, 2 << 20 / upstream.Window
	p, written := unreadAnswers(t, streams)
	large := func() (n int) {
		for i := range written {
			if written[i].Load() >= upstream.Window {
				n++
			}
		}
		return n
	}
	proxytest.Eventually(t, func() error {
		for i := range written {
			if n := written[i].Load(); n < upstream.NarrowWindow {
				return fmt.Errorf("stream %d: %d bytes", i, n)
			}
		}
		if n := large(); n < first {
			return fmt.Errorf("%d are large", n)
		}
		return nil
	})
	other := p.clientAs(t, proxytest.H2, url.User("other"))
	for range 50 {
		if res := proxytest.Get(t, other, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
	}
	beside, err := strconv.Atoi(proxytest.ReadAll(t, proxytest.Get(t, other, proxytest.Origin+"/").Body))
	if err != nil || beside > shared {
		t.Errorf("%d answers come on the connection of others, %v", beside, err)
	}
	if n := large(); n > first {
		t.Errorf("of %d answers the proxy took more than is for many", n)
	}
}
