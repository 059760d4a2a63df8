package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestHandOver has net/http answer what is not plain, on the connection on which
// plain requests were answered before it, and after it.
func TestHandOver(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["X-Length"] = []string{fmt.Sprint(len(body))}
		_, _ = w.Write(body)
	})
	p := startProxy(t, backend.Listener.Addr().String())
	const plain = "GET /plain HTTP/1.1\r\nHost: " + proxytest.Host + "\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		ends    bool // and the connection with it
	}{
		"chunked":        {"POST / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, false},
		"close":          {"GET / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nConnection: close\r\n\r\n", 200, true},
		"HTTP/1.0":       {"GET / HTTP/1.0\r\nHost: " + proxytest.Host + "\r\n\r\n", 200, true},
		"another method": {"PROPFIND / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\n\r\n", 405, false},
		"whole URL":      {"GET https://" + proxytest.Host + "/ HTTP/1.1\r\nHost: " + proxytest.Host + "\r\n\r\n", 200, false},
		"a long header":  {"GET / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", 200, false},
		"no host":        {"GET / HTTP/1.1\r\n\r\n", 400, true},
		"two hosts":      {"GET / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nHost: " + proxytest.Host + "\r\n\r\n", 400, true},
		"a bad host":     {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, true},
		"a bad escape":   {"GET /%zz HTTP/1.1\r\nHost: " + proxytest.Host + "\r\n\r\n", 400, true},
		"two lengths":    {"POST / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, true},
		"a bad length":   {"POST / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nContent-Length: +5\r\n\r\nhello", 400, true},
		"a control":      {"GET / HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nX: a\x01b\r\n\r\n", 400, true},
		"rubbish":        {"\x00\x01\x02\r\n\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := p.intercepted(t, "http/1.1")
			ask := func(request string) *http.Response {
				t.Helper()
				client.Send(t, "%s", request)
				res := client.Response(t, http.MethodGet)
				proxytest.ReadAll(t, res.Body)
				return res
			}
			for range 2 {
				if res := ask(plain); res.StatusCode != http.StatusOK {
					t.Fatalf("before: %s", res.Status)
				}
			}
			res := ask(c.request)
			if res.StatusCode != c.status {
				t.Errorf("%s, want %d", res.Status, c.status)
			}
			if c.ends {
				client.ExpectEOF(t)
			} else if res := ask(plain); res.StatusCode != http.StatusOK {
				t.Errorf("after: %s", res.Status)
			}
		})
	}
	t.Run("in pieces", func(t *testing.T) {
		t.Parallel()
		client := p.intercepted(t, "http/1.1")
		for _, piece := range []string{plain[:7], plain[7:20], plain[20:] + plain + plain[:9], plain[9:]} {
			client.Send(t, "%s", piece)
		}
		for range 3 {
			if res := client.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
				t.Errorf("%s", res.Status)
			}
		}
	})
}
