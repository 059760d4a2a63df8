package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
)

// TestConnectionsAreKept has requests follow each other on one connection of
// the client and one to the server.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, client, server string) {
		remotes := make(chan string, 1)
		backend := newBackend(t, server, func(_ http.ResponseWriter, r *http.Request) { remotes <- r.RemoteAddr })
		c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
		var first string
		for i := range 5 {
			r := newRequest(t, http.MethodPost, origin+"/", http.NoBody)
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				GotConn: func(info httptrace.GotConnInfo) {
					if info.Reused != (i > 0) {
						t.Errorf("request %d: reused: %v", i, info.Reused)
					}
				},
			}))
			readAll(t, do(t, c, r).Body)
			if remote := <-remotes; i == 0 {
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
	address := newRawTLSServer(t, func(c *tls.Conn) {
		if _, err := requestHead(newReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
		closed <- struct{}{}
	})
	eachProto(t, func(t *testing.T, proto string) {
		c := startProxy(t, address).client(t, proto)
		for range 10 {
			if res := get(t, c, origin+"/"); res.StatusCode != http.StatusOK {
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
	backend := newBackend(t, h2, func(w http.ResponseWriter, r *http.Request) {
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
	c := startProxy(t, backend.Listener.Addr().String()).client(t, h2)
	long := get(t, c, origin+"/long")
	ask := func(path string) string {
		if res := do(t, c, newRequest(t, http.MethodPost, origin+path, strings.NewReader("body"))); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		return <-remotes
	}
	old := ask("/")
	if remote := ask("/last"); remote != old {
		t.Fatal("the connection was not kept")
	}
	eventually(t, func() error {
		if ask("/") == old {
			return errors.New("the old connection is still used")
		}
		return nil
	})
	close(release)
	if got := readAll(t, long.Body); got != "complete" {
		t.Errorf("the running request got %q", got)
	}
}

// TestPanickingSigner ends its exchange, and nothing else.
func TestPanickingSigner(t *testing.T) {
	t.Parallel()
	eachProto(t, func(t *testing.T, proto string) {
		address, _ := countingBackend(t)
		var broken atomic.Bool
		broken.Store(true)
		p := startProxy(t, address, func(c *Config) { c.Signer = &panicking{&broken} })
		c := p.client(t, proto)
		if res, err := c.Get(origin + "/"); err == nil {
			res.Body.Close()
			t.Errorf("answered %s", res.Status)
		}
		p.logged(t, `"failure":"internal error"`)
		broken.Store(false)
		if res := get(t, c, origin+"/"); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
		if err := p.Shutdown(t.Context()); err != nil { // which waits for every exchange to have ended
			t.Error(err)
		}
	})
}
