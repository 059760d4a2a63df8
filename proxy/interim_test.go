package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/interim"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestHintsNobodyReads has a server send early hints to a client that reads nothing, over a
// connection that has another client's stream, too. The stream goes on. The request of the first
// client ends, and so does what the server has to do for it; the client is told if it reads
// after all.
func TestHintsNobodyReads(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		tick, flooded := make(chan struct{}), make(chan struct{})
		var mu sync.Mutex
		conns := make(map[string]bool)
		backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			conns[r.RemoteAddr] = true
			mu.Unlock()
			if r.URL.Path == "/flood" {
				w.Header().Set("Link", strings.Repeat("x", 50_000))
				for r.Context().Err() == nil {
					w.WriteHeader(http.StatusEarlyHints)
				}
				close(flooded)
				return
			}
			for {
				_, _ = io.WriteString(w, ".")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-tick:
				case <-r.Context().Done():
					return
				}
			}
		})
		p := startProxy(t, backend.Listener.Addr().String())
		stream := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/stream").Body
		goesOn := func() {
			t.Helper()
			if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
				t.Fatalf("the stream of the other client: %v", err)
			}
			tick <- struct{}{}
		}
		goesOn()

		var read func() string
		if proto == proxytest.H1 {
			c := p.intercepted(t, "http/1.1")
			c.Send(t, "GET /flood HTTP/1.1\r\nHost: %s\r\n\r\n", proxytest.Host)
			read = func() string {
				res := c.Response(t, http.MethodGet)
				if res.StatusCode >= 200 {
					proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_failed", "destination_unavailable")
				}
				return fmt.Sprint(res.StatusCode)
			}
		} else {
			c := p.h2(t)
			c.request(t, 1, ":method", "GET", ":scheme", "https", ":authority", proxytest.Host, ":path", "/flood")
			read = func() string { return c.status(t, 1) }
		}
		for ended := false; !ended; {
			goesOn()
			select {
			case <-flooded:
				ended = true
			default:
			}
		}
		goesOn()
		mu.Lock()
		if len(conns) != 1 {
			t.Errorf("the server had %d connections", len(conns))
		}
		mu.Unlock()
		hints := 0
		status := read()
		for ; status == "103"; status = read() {
			hints++
		}
		if status != "502" || hints == 0 {
			t.Errorf("%d hints, then %s", hints, status)
		}
		p.logged(t, "interim responses")
		goesOn()
	})
}

// TestHintsOfBothTries has a server send hints before it refuses a credential, and again before
// it answers. The client gets them in order, without either credential.
func TestHintsOfBothTries(t *testing.T) {
	t.Parallel()
	const hints = 100
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			renewed := strings.HasSuffix(r.Header.Get("Authorization"), renewedToken)
			for i := range hints {
				w.Header()["Link"] = []string{fmt.Sprint(renewed, i), r.Header.Get("Authorization"), proxytest.AccessToken}
				w.Header()["Content-Length"] = nil // or net/http reads the map later
				w.WriteHeader(http.StatusEarlyHints)
			}
			w.Header().Del("Link")
			if !renewed {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = renewing{} })
		var got, want []string
		for _, renewed := range []bool{false, true} {
			for i := range hints {
				want = append(want, fmt.Sprint(renewed, i))
			}
		}
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			if all := strings.Join(h["Link"], " "); strings.Contains(all, proxytest.AccessToken) || strings.Contains(all, renewedToken) {
				t.Errorf("the client got %s", all)
			}
			got = append(got, h.Get("Link"))
			return nil
		}}))
		res := proxytest.Do(t, p.client(t, client), r)
		if proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusOK || !slices.Equal(got, want) {
			t.Errorf("%s, and hints %q", res.Status, got)
		}
	})
}

// TestUnreadHints has a client read none of the hints that it is sent, until what waits for its
// label is too much: then the longest waiting requests are cut.
func TestUnreadHints(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", strings.Repeat("x", 50_000))
		for r.Context().Err() == nil {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	const memory = 16 << 20
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Limits.Memory = memory })
	for range live.BoundsOf(memory, 1).Unread.Label/(interim.MaxUnread/2) + 1 {
		c := p.intercepted(t, "http/1.1")
		c.Send(t, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", proxytest.Host)
	}
	p.logged(t, live.ReasonUnread)
}

// TestManyHints has a server send more hints at once than may wait for a client. Over HTTP/1.1
// the server's connection is that client's alone, and waits, so that each of them arrives.
func TestManyHints(t *testing.T) {
	t.Parallel()
	const hints = 4 * interim.MaxUnread / 20_000
	address := newOddServer(t, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("x", 20_000)+"\r\n\r\n", hints)+
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	p := startProxy(t, address)
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		n := 0
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/odd", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
			n++
			return nil
		}}))
		if got := proxytest.ReadAll(t, proxytest.Do(t, p.client(t, proto), r).Body); got != "ok" || n != hints {
			t.Errorf("%q after %d hints, want %d", got, n, hints)
		}
	})
}
