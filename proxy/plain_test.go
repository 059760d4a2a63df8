package proxy

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// startPlain starts a proxy for an http:// server at plain.example.
func startPlain(t testing.TB, handler http.HandlerFunc) *testProxy {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return startProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["plain.example:80"] = s.Listener.Addr().String() })
}

// TestPlain forwards a request for an http:// URL as it came, unsigned.
func TestPlain(t *testing.T) {
	t.Parallel()
	heads := make(chan []string, 1)
	address := proxytest.NewRawServer(t, proxytest.PlainRecorder(heads))
	p := startProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["plain.example:80"] = address })
	c := p.dial(t)
	for range 2 { // on one connection
		c.Send(t, "GET http://plain.example/a%%2Fb//c\"?q=%%zz HTTP/1.1\r\nHost: ignored\r\n"+
			"Proxy-Authorization: Basic eDp5\r\nProxy-Connection: keep-alive\r\nAuthorization: Bearer mine\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n")
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusNoContent {
			t.Fatal(res.Status)
		}
		got := <-heads
		slices.Sort(got)
		want := []string{
			"Authorization: Bearer mine", `GET /a%2Fb//c"?q=%zz HTTP/1.1`, "Host: plain.example", "X-Forwarded-For: 10.1.2.3",
		}
		if !slices.Equal(got, want) {
			t.Errorf("arrived:\n%s", strings.Join(got, "\n"))
		}
	}
}

// TestPlainStream has the server wait for every chunk to arrive.
func TestPlainStream(t *testing.T) {
	t.Parallel()
	confirmed := make(chan struct{})
	p := startPlain(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = http.NewResponseController(w).Flush()
		for range chunks {
			select {
			case <-confirmed:
			case <-r.Context().Done():
				return
			}
			_, _ = io.WriteString(w, "{}\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	res := proxytest.Get(t, p.client(t, proxytest.H1), "http://plain.example/")
	for range chunks {
		confirmed <- struct{}{}
		if _, err := io.ReadFull(res.Body, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
	if rest := proxytest.ReadAll(t, res.Body); rest != "" {
		t.Errorf("%q at the end", rest)
	}
}

// TestPlainTruncated has the server break off.
func TestPlainTruncated(t *testing.T) {
	t.Parallel()
	for _, length := range []bool{true, false} {
		t.Run(strconv.FormatBool(length), func(t *testing.T) {
			t.Parallel()
			wantTruncated(t, proxytest.Get(t, startPlain(t, breakOff(length)).client(t, proxytest.H1), "http://plain.example/"))
		})
	}
}
