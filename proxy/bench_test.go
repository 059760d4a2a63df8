package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/interim"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/usage"
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
		outgoing(x, in, interim.New(x, &x.Unread, false))
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

// BenchmarkEvents measures an event on its way to the client and the client's word that
// it is there, with and without its usage being read along.
func BenchmarkEvents(b *testing.B) {
	event := []byte("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":17,\"item_id\":\"msg_0123456789abcdef\",\"output_index\":0,\"content_index\":0,\"delta\":\" and\",\"obfuscation\":\"0123456789\"}\n\n")
	for name, observe := range map[string]func(usage.Entry){"off": nil, "on": func(usage.Entry) {}} {
		b.Run("usage="+name, func(b *testing.B) {
			next := make(chan struct{})
			backend := proxytest.NewBackend(b, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
				for range next {
					_, _ = w.Write(event)
					_ = http.NewResponseController(w).Flush()
				}
			})
			p := startProxy(b, backend.Listener.Addr().String(), func(c *Config) { c.Log, c.ObserveUsage = zerolog.Nop(), observe })
			go func() { next <- struct{}{} }() // the header comes with the first event
			res, err := p.client(b, proxytest.H1).Post(proxytest.Origin+"/backend-api/codex/responses", "", nil)
			if err != nil {
				b.Fatal(err)
			}
			defer res.Body.Close()
			defer close(next)
			got := make([]byte, len(event))
			if _, err := io.ReadFull(res.Body, got); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				next <- struct{}{}
				if _, err := io.ReadFull(res.Body, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
