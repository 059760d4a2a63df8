package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// resetCounter is a server of HTTP/2 that begins every response and does not end it. It
// ends a connection on which more than most streams were reset, as servers do that defend
// themselves.
type resetCounter struct {
	most  int
	conns atomic.Int64
	cut   atomic.Int64 // connections

	mu    sync.Mutex
	write map[string]func(data string) // sends more of the responses to a path
}

func (s *resetCounter) serve(c *tls.Conn) {
	s.conns.Add(1)
	preface := make([]byte, len(http2.ClientPreface))
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, preface); err != nil {
		return
	}
	framer := http2.NewFramer(c, r)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var writing sync.Mutex
	_ = framer.WriteSettings()
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200", Sensitive: true})
	resets, last := 0, uint32(0)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		writing.Lock()
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = framer.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			last = f.StreamID
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
			_ = framer.WriteData(f.StreamID, false, []byte("x"))
			id := f.StreamID
			s.mu.Lock()
			s.write[f.PseudoValue("path")] = func(data string) {
				writing.Lock()
				defer writing.Unlock()
				_ = framer.WriteData(id, data == "end", []byte(data))
			}
			s.mu.Unlock()
		case *http2.RSTStreamFrame:
			if resets++; resets > s.most {
				s.cut.Add(1)
				_ = framer.WriteGoAway(last, http2.ErrCodeEnhanceYourCalm, nil)
				writing.Unlock()
				return
			}
		}
		writing.Unlock()
	}
}

// TestResetsOfLabel has clients of one label break off hundreds of requests, so that the
// server ends their connection. The streams of another label go on.
func TestResetsOfLabel(t *testing.T) {
	t.Parallel()
	server := &resetCounter{most: 60, write: make(map[string]func(string))}
	config := proxytest.ServerTLS()
	config.NextProtos = []string{"h2"}
	address := proxytest.NewRawServer(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		if secured.Handshake() == nil {
			server.serve(secured)
		}
	})
	p := startProxy(t, address)
	begin := func(ctx context.Context, label, path string) (*http.Response, error) {
		c := p.clientAs(t, proxytest.H2, url.UserPassword(label, ""))
		c.Timeout = 0
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+path, nil).WithContext(ctx)
		return c.Do(r)
	}
	var streams []*http.Response
	paths := []string{"/good/0", "/good/1", "/good/2"}
	for _, path := range paths {
		res, err := begin(t.Context(), "good", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, res)
	}
	hasty := p.clientAs(t, proxytest.H2, url.UserPassword("hasty", ""))
	for range 400 {
		ctx, cancel := context.WithCancel(t.Context())
		res, err := hasty.Do(proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/hasty", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		// The server has it, for it has answered. A connection that it has ended meanwhile
		// is one of the label's own.
		_, _ = io.ReadFull(res.Body, make([]byte, 1))
		cancel()
		res.Body.Close()
	}
	proxytest.Eventually(t, func() error {
		if server.cut.Load() == 0 {
			return io.ErrNoProgress
		}
		return nil
	})
	for i, res := range streams {
		server.mu.Lock()
		write := server.write[paths[i]]
		server.mu.Unlock()
		write("more")
		write("end")
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(rest) != "moreend" {
			t.Errorf("stream %d: %q, %v", i, rest, err)
		}
	}
}

// TestResetsOfServer has a server reset the streams of a label. They are no resets of the label's,
// which goes on using the connection of all.
func TestResetsOfServer(t *testing.T) {
	t.Parallel()
	var conns sync.Map
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		conns.Store(r.RemoteAddr, true)
		if r.URL.Path == "/reset" {
			_, _ = io.WriteString(w, "part")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.client(t, proxytest.H2)
	for range 50 {
		res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/reset", nil))
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the response is whole")
		}
		res.Body.Close()
	}
	if res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	n := 0
	conns.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}
