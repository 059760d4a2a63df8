//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// dialAs opens an intercepted tunnel to chatgpt.com for a client of a label.
func (p *proxy) dialAs(t *testing.T, label, protocol string) net.Conn {
	t.Helper()
	raw := dialTCP(t, p.addr)
	writeString(t, raw, lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443", "Proxy-Authorization: "+basic(label)))
	established := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(raw, established); err != nil || !bytes.Contains(established, []byte(" 200 ")) {
		t.Fatalf("CONNECT: %q, %v", established, err)
	}
	return p.secure(t, raw, "chatgpt.com", "chatgpt.com", protocol)
}

// hoarders are what clients of one label, and strangers, do to have the proxy hold as
// much memory as it can. Each returns when it has done so.
var hoarders = map[string]func(t *testing.T, p *proxy){
	"250 answers over HTTP/2 that nobody reads": func(t *testing.T, p *proxy) {
		for n := 250; n > 0; n -= 100 {
			conn := p.dialAs(t, "hoarder", "h2")
			writeString(t, conn, http2.ClientPreface)
			framer := http2.NewFramer(conn, nil)
			_ = framer.WriteSettings()
			block := headerBlock(t, fields(":authority", "chatgpt.com", ":path", "/backend-api/test/bytes?n=100000000"))
			for i := range min(n, 100) {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndStream: true, EndHeaders: true})
			}
		}
	},
	"250 uploads that do not end": func(t *testing.T, p *proxy) {
		const size = 1 << 20
		body := strings.Repeat("x", size-1)
		var uploads sync.WaitGroup
		for range 250 {
			conn := p.dialAs(t, "hoarder", "http/1.1")
			uploads.Go(func() {
				_, _ = fmt.Fprintf(conn, "POST /backend-api/test/upload HTTP/1.1\r\nHost: chatgpt.com\r\nContent-Length: %d\r\n\r\n%s", size, body)
			})
		}
		uploads.Wait()
	},
	"900 headers that do not end": func(t *testing.T, p *proxy) {
		header := "CONNECT chatgpt.com:443 HTTP/1.1\r\nX: " + strings.Repeat("x", 250<<10)
		var strangers sync.WaitGroup
		for range 900 {
			conn := dialTCP(t, p.addr)
			strangers.Go(func() { _, _ = io.WriteString(conn, header) })
		}
		strangers.Wait()
	},
}

// TestHoarders has clients that have the proxy hold all the memory that they can, each
// kind alone and all together. It holds no more than its manifests give it, and serves
// others meanwhile.
func TestHoarders(t *testing.T) {
	kinds := map[string][]string{"all": nil}
	for kind := range hoarders {
		kinds[kind] = []string{kind}
		kinds["all"] = append(kinds["all"], kind)
	}
	for name, parts := range kinds {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, fixtureConfig{yaml: "limits: {memory: 241591910}"})
			p := f.edit(t, "level: debug", "level: error").serve(t)
			good := p.client(t, "good")
			mustAsk(t, good, http.StatusOK)
			before, most, served := p.holds(t), 0, 0
			done := make(chan struct{})
			var sampler sync.WaitGroup
			sampler.Go(func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(20 * time.Millisecond):
						most = max(most, p.holds(t).kilobytes)
					}
				}
			})
			var clients sync.WaitGroup
			clients.Go(func() {
				for {
					if status, err := ask(good, []byte("hello")); err != nil || status != http.StatusOK {
						t.Errorf("status %d, %v", status, err)
						return
					}
					served++
					select {
					case <-done:
						return
					case <-time.After(5 * time.Millisecond):
					}
				}
			})
			for _, part := range parts {
				hoarders[part](t, p)
			}
			time.Sleep(2 * time.Second) // what was sent is on its way through the proxy
			close(done)
			sampler.Wait()
			clients.Wait()
			t.Logf("%d kB before, %d kB at most, %d requests of another client served", before.kilobytes, most, served)
			if most > 256<<10 {
				t.Errorf("the proxy held %d kB", most)
			}
		})
	}
}
