package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

func BenchmarkForwardH1(b *testing.B) { benchmarkForward(b, proxytest.H1) }
func BenchmarkForwardH2(b *testing.B) { benchmarkForward(b, proxytest.H2) }

// benchmarkForward measures one request with a short answer, client and server
// included.
func benchmarkForward(b *testing.B, proto string) {
	backend := proxytest.NewBackend(b, proto, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") })
	p := startProxy(b, backend.Listener.Addr().String(), func(c *Config) { c.Log = zerolog.New(io.Discard) })
	c := p.client(b, proto)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := c.Get(proxytest.Origin + "/")
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
}

// BenchmarkOutgoing makes the outgoing request of a usual incoming one.
func BenchmarkOutgoing(b *testing.B) {
	in := httptest.NewRequest(http.MethodGet, "/backend-api/codex/models?client_version=1", nil)
	for _, name := range []string{"Accept", "Accept-Language", "Authorization", "Originator", "Session-Id", "User-Agent", "Version"} {
		in.Header.Set(name, "a usual value")
	}
	in.Header.Set("Connection", "keep-alive")
	x := &exchange{facts: facts{kind: KindRequest, target: hosts.Target{Host: proxytest.Host, Port: "443"}, path: "/backend-api/codex/models"}, signing: signing{auth: proxytest.Bearer()}}
	b.ReportAllocs()
	for b.Loop() {
		outgoing(x, in, &interim{x: x})
	}
}

// BenchmarkDownload measures a body of 1 MB on its way, client and server
// included.
func BenchmarkDownload(b *testing.B) {
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		b.Run(proto, func(b *testing.B) {
			body := make([]byte, 1<<20)
			backend := proxytest.NewBackend(b, proto, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
			p := startProxy(b, backend.Listener.Addr().String(), func(c *Config) { c.Log = zerolog.Nop() })
			c := p.client(b, proto)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				res, err := c.Get(proxytest.Origin + "/")
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); err != nil || n != int64(len(body)) {
					b.Fatal(n, err)
				}
				res.Body.Close()
			}
		})
	}
}
