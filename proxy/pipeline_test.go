package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestPipelined sends many requests of all kinds in one piece: each is answered
// by itself and in its turn, however different the ways are that they take.
func TestPipelined(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})
	p := startProxy(t, backend.Listener.Addr().String())
	plain := func(n int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n", n, proxytest.Host) }
	long := func(n int) string {
		return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: %s\r\nX-Long: %s\r\n\r\n", n, proxytest.Host, strings.Repeat("x", 20_000))
	}
	body := func(n int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 4\r\n\r\nb%03d", n, proxytest.Host, n)
	}
	large := func(n int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: %s\r\nContent-Length: 100004\r\n\r\nb%03d%s", n, proxytest.Host, n, strings.Repeat("x", 100_000))
	}
	chunked := func(n int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nb%03d\r\n0\r\n\r\n", n, proxytest.Host, n)
	}
	expecting := func(n int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nb%03d", n, proxytest.Host, n)
	}
	kinds := []func(int) string{plain, body, large, plain, long, plain, chunked, body, expecting, plain}
	for first := range kinds {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			var all strings.Builder
			for i := range kinds {
				all.WriteString(kinds[(first+i)%len(kinds)](i))
			}
			c := p.intercepted(t)
			go func() { _, _ = io.WriteString(c.Conn, all.String()) }()
			for i := range kinds {
				method := http.MethodPost
				if strings.HasPrefix(kinds[(first+i)%len(kinds)](i), "GET") {
					method = http.MethodGet
				}
				want := fmt.Sprintf("%s /%d ", method, i)
				if method == http.MethodPost {
					want += fmt.Sprintf("b%03d", i)
				}
				res := c.Response(t, method)
				for res.StatusCode == http.StatusContinue {
					res = c.Response(t, method)
				}
				if got := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusOK || strings.TrimRight(got, "x") != want {
					t.Fatalf("answer %d: %s, %.40q, want %q", i, res.Status, got, want)
				}
			}
		})
	}
}
