package proxy

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestLargeAnswers has what is read and written in many records at a time
// arrive byte for byte.
func TestLargeAnswers(t *testing.T) {
	const record = 16 << 10 // the most that a TLS record holds
	t.Parallel()
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		backend := proxytest.NewBackend(t, proto, func(w http.ResponseWriter, r *http.Request) {
			size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
			body := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(body)
			w.Header()["X-Sum"] = []string{fmt.Sprintf("%x", sha256.Sum256(body))}
			if r.URL.Path == "/length" {
				w.Header()["Content-Length"] = []string{strconv.FormatInt(size, 10)}
			}
			piece := int(size)
			if r.URL.Path == "/flushed" {
				piece = 40_000
			}
			for len(body) > 0 {
				n := min(piece, len(body))
				_, _ = w.Write(body[:n])
				_ = http.NewResponseController(w).Flush()
				body = body[n:]
			}
		})
		client := startProxy(t, backend.Listener.Addr().String()).client(t, proto)
		for _, path := range []string{"/length", "/chunked", "/flushed"} {
			for _, size := range []int{1, record - 1, record, record + 1, 32 << 10, 128 << 10, 128<<10 + 1, 3_000_001} {
				res, err := client.Get(fmt.Sprintf("%s%s?size=%d", proxytest.Origin, path, size))
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.New()
				n, err := io.Copy(sum, res.Body)
				res.Body.Close()
				if got := fmt.Sprintf("%x", sum.Sum(nil)); err != nil || n != int64(size) || got != res.Header.Get("X-Sum") {
					t.Errorf("%s%s: %d of %d bytes, %v, sum %s, want %s", proto, path, n, size, err, got, res.Header.Get("X-Sum"))
				}
			}
		}
	}
}
