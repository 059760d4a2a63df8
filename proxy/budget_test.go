package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// The most that one short request may allocate. Whoever needs more measures what it costs
// (docs/performance.md) and raises the number; whoever needs less lowers it to a
// little above what the test says it has counted.
const (
	budgetH1 = 60  // within the proxy
	budgetH2 = 152 // within client, proxy and server, each with net/http's HTTP/2
)

// TestAllocationBudget counts allocations, which do not depend on the machine.
// Over HTTP/1.1 the client and the server write bytes that are ready and look at
// next to nothing, so that what is counted is the proxy's.
func TestAllocationBudget(t *testing.T) {
	quiet := func(c *Config) {
		c.Log = zerolog.Nop()
		c.Scope = scopeOf(t, signer.ScopeEntry{Word: signer.WordCodex})
	}
	t.Run("h1", func(t *testing.T) {
		server := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
			answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
			r := bufio.NewReader(c)
			for skipHead(r) == nil {
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		})
		client := startProxy(t, server, quiet).intercepted(t, "http/1.1")
		request := []byte("GET /backend-api/wham/tasks/list HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nUser-Agent: test/1\r\nAccept: */*\r\n" +
			"Accept-Language: en\r\nSession-Id: 0123456789abcdef\r\nAuthorization: Bearer placeholder\r\n\r\n")
		wantBudget(t, budgetH1, func() error {
			if _, err := client.Conn.Write(request); err != nil {
				return err
			}
			if err := skipHead(client.R); err != nil {
				return err
			}
			_, err := client.R.Discard(2)
			return err
		})
	})
	t.Run("h2", func(t *testing.T) {
		backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
		client := startProxy(t, backend.Listener.Addr().String(), quiet).client(t, proxytest.H2)
		request := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/backend-api/wham/tasks/list", nil)
		wantBudget(t, budgetH2, func() error {
			res, err := client.Transport.RoundTrip(request)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			_, err = io.Copy(io.Discard, res.Body)
			return err
		})
	})
}

// skipHead reads to the empty line.
func skipHead(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil || len(bytes.TrimSpace(line)) == 0 {
			return err
		}
	}
}

// wantBudget makes sure that a call of f, and all that it brings about, allocates
// no more than that.
func wantBudget(t *testing.T, budget float64, f func() error) {
	t.Helper()
	const warmUp, n = 50, 200
	var before, after runtime.MemStats
	for i := range warmUp + n {
		if i == warmUp {
			runtime.ReadMemStats(&before)
		}
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	got := float64(after.Mallocs-before.Mallocs) / n
	t.Logf("%.1f allocations, budget %v", got, budget)
	if got > budget*raceFactor {
		t.Errorf("%.1f allocations are more than the budget of %v", got, budget)
	}
}
