package proxy

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestBounds: what is divided is the memory that is configured, else the process's.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ memory, unread int64 }{{64 << 20, 16 << 20}, {0, defaultMemory / 4}} {
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
	n := int(live.BoundsOf(memory, 1).Strangers / (head - netconn.FreeHead))
	begin := func() *proxytest.RawConn {
		c := p.dial(t)
		c.Send(t, "CONNECT %s:443 HTTP/1.1\r\nX: %s", proxytest.Host, strings.Repeat("x", head-len("CONNECT chatgpt.com:443 HTTP/1.1\r\nX: ")))
		return c
	}
	var conns []*proxytest.RawConn
	for range n {
		conns = append(conns, begin())
	}
	proxytest.Eventually(t, func() error {
		if !p.live.set.TakeHead(head - netconn.FreeHead) {
			return nil
		}
		p.live.set.TakeHead(netconn.FreeHead - head)
		return io.ErrNoProgress // not all of them were read
	})
	res := begin().Response(t, http.MethodGet)
	if body := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) {
		t.Errorf("%s %s", res.Status, body)
	}
	if res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	conns[0].Send(t, "\r\nHost: x\r\n\r\n")
	if res := conns[0].Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Errorf("what had begun: %s", res.Status)
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
