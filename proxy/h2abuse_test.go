package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// ask is the header of a request that is as it should be.
var ask = []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/"}

func with(fields ...string) []string { return append(ask[:len(ask):len(ask)], fields...) }

// TestSmugglingHTTP2 has what HTTP/2 can carry in a header but HTTP/1.1 would
// read as something else. The server behind speaks HTTP/1.1; of none may
// anything reach it.
func TestSmugglingHTTP2(t *testing.T) {
	t.Parallel()
	p := newStrictProxy(t)
	for _, test := range []struct {
		name   string
		fields []string
		want   string // one of these
	}{
		{"CR LF in a value", with("x-a", "b\r\nauthorization: Bearer forged"), "reset"},
		{"LF in a value", with("x-a", "b\nauthorization: Bearer forged"), "reset"},
		{"CR in a value", with("x-a", "b\rc"), "reset"},
		{"NUL in a value", with("x-a", "b\x00c"), "reset"},
		{"CR LF in a name", with("x-a\r\nauthorization", "Bearer forged"), "reset"},
		{"colon in a name", with("authorization: bearer forged\r\nx", "a"), "reset"},
		{"colon at a name's end", with("transfer-encoding:", "chunked"), "reset"},
		{"space in a name", with("x a", "b"), "reset"},
		{"empty name", with("", "b"), "reset"},
		{"upper case in a name", with("X-A", "b"), "reset"},
		{"upper case in ours", with("Authorization", "Bearer forged"), "reset"},
		{"transfer-encoding", with("transfer-encoding", "chunked"), "400 reset"},
		{"connection", with("connection", "authorization"), "400 reset"},
		{"keep-alive", with("keep-alive", "1"), "400 reset"},
		{"proxy-connection", with("proxy-connection", "close"), "400 reset"},
		{"upgrade", with("upgrade", "h2c"), "400 reset"},
		{"te", with("te", "gzip"), "400 reset"},
		{"space in the path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/ HTTP/1.1\r\nX-A: b"}, "400 reset"},
		{"one space in the path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/a b"}, "400"},
		{"CR LF in the path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/\r\nX-A: b"}, "400 reset"},
		{"no slash in the path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "a"}, "400 reset"},
		{"empty path", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", ""}, "reset"},
		{"CR LF in the method", []string{":method", "GET / HTTP/1.1\r\nX-A: b\r\n\r\nGET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/"}, "400 reset"},
		{"space in the method", []string{":method", "GET /x", ":scheme", "https", ":authority", proxytest.Host, ":path", "/"}, "400 reset"},
		{"empty method", []string{":method", "", ":scheme", "https", ":authority", proxytest.Host, ":path", "/"}, "reset"},
		{"CR LF in the authority", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host + "\r\nX-A: b", ":path", "/"}, "421 400 reset"},
		{"CR LF in the scheme", []string{":method", "GET", ":scheme", "https\r\nX-A: b", ":authority", proxytest.Host, ":path", "/"}, "400 reset"},
		{"unknown pseudo-header", with(":x", "b"), "reset"},
		{"pseudo-header after a header", []string{":method", "GET", ":scheme", "https", ":authority", proxytest.Host, "x-a", "b", ":path", "/"}, "reset"},
		{"two paths", with(":path", "/x"), "reset"},
		{"two methods", with(":method", "POST"), "reset"},
		{"a status", with(":status", "200"), "reset"},
		{"length of no body", with("content-length", "5"), "reset 400"},
		{"length that is none", with("content-length", "x"), "reset 400"},
		{"two lengths", with("content-length", "0", "content-length", "5"), "reset 400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := p.h2(t)
			c.request(t, 1, test.fields...)
			got := c.status(t, 1)
			if got == "goaway" {
				got = "reset"
			}
			if !strings.Contains(test.want, got) {
				t.Errorf("%s, want %s", got, test.want)
			}
			c.Close()
			requests, err := p.settled()
			if err != nil {
				t.Error(err)
			}
			if got != "204" && len(requests) > 0 {
				t.Errorf("%s %s arrived", requests[0].method, requests[0].target)
			}
		})
	}
	if res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"); res.StatusCode != http.StatusNoContent {
		t.Error(res.Status)
	}
}

// TestLengthHTTP2 has a body that is shorter or longer than its Content-Length.
// To a server of HTTP/1.1, what is too much would be the next request.
func TestLengthHTTP2(t *testing.T) {
	t.Parallel()
	p := newStrictProxy(t)
	for name, test := range map[string]struct{ length, body string }{
		"longer":  {"3", "abc" + hidden},
		"shorter": {"300", "abc"},
		"none":    {"0", hidden},
	} {
		t.Run(name, func(t *testing.T) {
			c := p.h2(t)
			c.open(t, 1, ":method", "POST", ":scheme", "https", ":authority", proxytest.Host, ":path", "/", "content-length", test.length)
			if err := c.framer.WriteData(1, true, []byte(test.body)); err != nil {
				t.Fatal(err)
			}
			got := c.status(t, 1)
			c.Close()
			requests, err := p.settled()
			if err != nil {
				t.Error(err)
			}
			if name != "none" && (got != "reset" && got != "400" && got != "502" || len(requests) > 0) {
				t.Errorf("%s, and %d requests arrived", got, len(requests))
			}
			for _, q := range requests {
				if q.body != "" {
					t.Errorf("%q arrived", q.body)
				}
			}
		})
	}
}

// open is request for one with a body.
func (c *h2Conn) open(t testing.TB, stream uint32, fields ...string) {
	t.Helper()
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.block(t, fields...), EndHeaders: true,
	}); err != nil {
		t.Fatal(err)
	}
}

func (c *h2Conn) block(t testing.TB, fields ...string) []byte {
	t.Helper()
	c.header.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	return c.header.Bytes()
}

// flood has the client write until the proxy hangs up, at most n times, while
// it reads nothing. It returns whether the proxy has hung up.
func (c *h2Conn) flood(n int, write func(i int) error) bool {
	for i := range n {
		if err := write(i); err != nil {
			return !errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	return false
}

// TestFloods has the ways to have an HTTP/2 server work for nothing. It hangs
// up, or does so little that it does no harm; in either case another client is
// served meanwhile, and afterwards nothing is left of it.
func TestFloods(t *testing.T) {
	check := proxytest.NoneLeft(t)
	for _, server := range []string{proxytest.H1, proxytest.H2} {
		t.Run(server, func(t *testing.T) { floods(t, server) })
	}
	check()
}

func floods(t *testing.T, server string) {
	var running, most atomic.Int64
	backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if r.Header.Get("Wait") != "" {
			<-r.Context().Done()
		}
	})
	p := startProxy(t, backend.Listener.Addr().String())
	other := p.client(t, proxytest.H2)
	served := func(t *testing.T) {
		t.Helper()
		if res := proxytest.Get(t, other, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
	}
	// It takes a hundred thousand or so until the proxy has too many answers to send.
	pings := 2_000_000
	if lighter > 1 {
		pings = 10_000
	}
	for _, test := range []struct {
		name string
		n    int
		hung bool // the proxy must hang up
		asks bool // requests reach the server, whose protocol matters
		with func(t *testing.T, c *h2Conn) func(i int) error
	}{
		{"rapid reset", 2000 / lighter, false, true, func(t *testing.T, c *h2Conn) func(int) error {
			return func(i int) error {
				c.header.Reset()
				for f := 0; f < len(ask); f += 2 {
					_ = c.enc.WriteField(hpack.HeaderField{Name: ask[f], Value: ask[f+1]})
				}
				_ = c.enc.WriteField(hpack.HeaderField{Name: "wait", Value: "1"})
				id := uint32(2*i + 1)
				return errors.Join(
					c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header.Bytes(), EndStream: true, EndHeaders: true}),
					c.framer.WriteRSTStream(id, http2.ErrCodeCancel))
			}
		}},
		{"CONTINUATION", 20_000, true, false, func(t *testing.T, c *h2Conn) func(int) error {
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(t, ask...), EndStream: true})
			fragment := bytes.Clone(c.block(t, "x-a", strings.Repeat("\x01", 8000)))
			return func(int) error { return c.framer.WriteContinuation(1, false, fragment) }
		}},
		{"CONTINUATION of nothing", 200, false, false, func(t *testing.T, c *h2Conn) func(int) error {
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(t, ask...), EndStream: true})
			many := new(bytes.Buffer)
			framer := http2.NewFramer(many, nil)
			for range 1000 {
				_ = framer.WriteContinuation(1, false, nil)
			}
			return func(int) error { _, err := c.Write(many.Bytes()); return err }
		}},
		{"PING", pings, lighter == 1, false, func(t *testing.T, c *h2Conn) func(int) error {
			return func(i int) error { return c.framer.WritePing(false, [8]byte{byte(i)}) }
		}},
		{"SETTINGS", 50_000, false, false, func(t *testing.T, c *h2Conn) func(int) error {
			return func(i int) error {
				return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
			}
		}},
		{"streams that wait", 1000, false, true, func(t *testing.T, c *h2Conn) func(int) error {
			return func(i int) error {
				block := bytes.Clone(c.block(t, with("wait", "1")...))
				return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndStream: true, EndHeaders: true})
			}
		}},
	} {
		if !test.asks && server != proxytest.H1 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			c := p.h2(t)
			served(t)
			if hung := c.flood(test.n, test.with(t, c)); test.hung && !hung {
				t.Error("the proxy did not hang up")
			}
			served(t)
			c.Close()
		})
	}
	if n := most.Load(); n > maxStreams+10 {
		t.Errorf("%d requests ran at the same time for one client", n)
	}
	proxytest.Eventually(t, func() error {
		if n := p.places.all.InUse(); n > 1 { // the other client's
			return fmt.Errorf("%d connections are still counted", n)
		}
		return nil
	})
}
