package proxy

import (
	"io"
	"net/http"
	"testing"

	"github.com/rs/zerolog"
)

func BenchmarkForwardH1(b *testing.B) { benchmarkForward(b, h1) }
func BenchmarkForwardH2(b *testing.B) { benchmarkForward(b, h2) }

// benchmarkForward measures one request with a short answer, client and server
// included.
func benchmarkForward(b *testing.B, proto string) {
	backend := newBackend(b, proto, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") })
	p := startProxy(b, backend.Listener.Addr().String(), func(c *Config) { c.Log = zerolog.New(io.Discard) })
	c := p.client(b, proto)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := c.Get(origin + "/")
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
}
