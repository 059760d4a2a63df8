package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestConnectionsAreKept has requests follow each other on one connection of
// the client and one to the server.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		remotes := make(chan string, 1)
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) { remotes <- r.RemoteAddr })
		c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
		var first string
		for i := range 5 {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", http.NoBody)
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				GotConn: func(info httptrace.GotConnInfo) {
					if info.Reused != (i > 0) {
						t.Errorf("request %d: reused: %v", i, info.Reused)
					}
				},
			}))
			proxytest.ReadAll(t, proxytest.Do(t, c, r).Body)
			// The first one may only have told that the server has no HTTP/2.
			if remote := <-remotes; i == 0 || i == 1 && client == proxytest.H2 && server == proxytest.H1 {
				first = remote
			} else if remote != first {
				t.Errorf("request %d came on a new connection", i)
			}
		}
	})
}

// TestServerClosesIdle has the server close the connection after every answer
// without having announced it. The next request does not fail for it.
func TestServerClosesIdle(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		if _, err := proxytest.RequestHead(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
		closed <- struct{}{}
	})
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		c := startProxy(t, address).client(t, proto)
		for range 10 {
			if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			<-closed
		}
	})
}

// TestServerGoesAway has an HTTP/2 server say, with a request running, that its
// connection takes no more of them. That one completes, and none fails.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	release, remotes := make(chan struct{}), make(chan string, 1)
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/long":
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, "complete")
			return
		case "/last":
			w.Header().Set("Connection", "close") // GOAWAY
		}
		remotes <- r.RemoteAddr
	})
	c := startProxy(t, backend.Listener.Addr().String()).client(t, proxytest.H2)
	long := proxytest.Get(t, c, proxytest.Origin+"/long")
	ask := func(path string) string {
		if res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+path, strings.NewReader("body"))); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		return <-remotes
	}
	old := ask("/")
	if remote := ask("/last"); remote != old {
		t.Fatal("the connection was not kept")
	}
	proxytest.Eventually(t, func() error {
		if ask("/") == old {
			return errors.New("the old connection is still used")
		}
		return nil
	})
	close(release)
	if got := proxytest.ReadAll(t, long.Body); got != "complete" {
		t.Errorf("the running request got %q", got)
	}
}

// TestPanickingSigner ends its exchange, and nothing else.
func TestPanickingSigner(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		address, _ := countingBackend(t)
		var broken atomic.Bool
		broken.Store(true)
		p := startProxy(t, address, func(c *Config) { c.Signer = &panicking{&broken} })
		c := p.client(t, proto)
		if res, err := c.Get(proxytest.Origin + "/"); err == nil {
			res.Body.Close()
			t.Errorf("answered %s", res.Status)
		}
		p.logged(t, `"failure":"internal error"`)
		broken.Store(false)
		if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
		if err := p.Shutdown(t.Context()); err != nil { // which waits for every exchange to have ended
			t.Error(err)
		}
	})
}

// panicking is a signer with a mistake in it.
type panicking struct{ broken *atomic.Bool }

func (s *panicking) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	if s.broken.Load() {
		panic("the signer is broken")
	}
	return proxytest.Bearer(), nil
}
