package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// leafFunc is called in the middle of a handshake.
type leafFunc func(host string) (*tls.Certificate, error)

func (f leafFunc) Leaf(host string) (*tls.Certificate, error) { return f(host) }

// TestHandshakesTakeTurns looks at the turns in the middle of a handshake and after it.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	var p *testProxy
	p = newProxy(t, "", func(c *Config) {
		leaves := c.Leaves
		c.Leaves = leafFunc(func(host string) (*tls.Certificate, error) {
			if p.turns.Taken() != 1 {
				t.Error("the handshake has no turn")
			}
			return leaves.Leaf(host)
		})
	})
	p.serve(t)
	conn := p.intercepted(t, "http/1.1")
	defer conn.Close()
	if p.turns.Taken() != 0 {
		t.Error("the turn lasts longer than the handshake")
	}
}

// TestUploadsTakeTurns has an upload that its server does not read: the turn that it waits in
// keeps nobody from anything.
func TestUploadsTakeTurns(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		release := make(chan struct{})
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stuck" {
				<-release
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
		p := startProxy(t, backend.Listener.Addr().String())
		const size = 64 << 20 / lighter
		stuck := make(chan int, 1)
		go func() {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/stuck", io.LimitReader(zeros{}, size))
			r.ContentLength = size
			stuck <- proxytest.Do(t, p.client(t, client), r).StatusCode
		}()
		proxytest.Eventually(t, func() error {
			if p.turns.Taken() != 1 {
				return errors.New("the upload has no turn")
			}
			return nil
		})
		for range 3 {
			// A handshake of its own. No body: a server may share one window among all uploads.
			r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
			if res := proxytest.Do(t, p.client(t, client), r); res.StatusCode != http.StatusOK {
				t.Errorf("another request: %s", res.Status)
			}
		}
		close(release)
		if status := <-stuck; status != http.StatusOK || p.turns.Taken() != 0 {
			t.Errorf("status %d, %d turns", status, p.turns.Taken())
		}
	})
}

// TestUploadsAreBounded refuses an upload whose buffer there is no room for, as long as others
// run, and none that is small or of another label.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		begun := make(chan struct{}, 1)
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1))
			if r.URL.Path == "/first" {
				begun <- struct{}{}
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
		p := startProxy(t, backend.Listener.Addr().String())
		bounds := live.BoundsOf(1<<30, 100)
		bounds.Uploads = live.Share{All: 4 << 20, Label: 1 << 20}
		p.live.set.SetBounds(bounds)
		ask := func(path string, body io.Reader, length int64) *http.Response {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+path, body)
			r.ContentLength = length
			return proxytest.Do(t, p.client(t, client), r)
		}
		body, write := io.Pipe()
		var running sync.WaitGroup
		for range 2 {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/first", io.MultiReader(strings.NewReader("x"), body))
			r.ContentLength = 10 << 20
			running.Go(func() { // until the body fails
				if res, err := p.client(t, client).Do(r); err == nil {
					res.Body.Close()
				}
			})
			<-begun
		}
		if res := ask("/", strings.NewReader("small"), 5); res.StatusCode != http.StatusOK {
			t.Errorf("a small one: %s", res.Status)
		}
		res := ask("/", io.LimitReader(zeros{}, 100<<10), 100<<10)
		if text := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "large bodies") {
			t.Errorf("%s %s", res.Status, text)
		}
		// A body with trailers is a large one until its end.
		trailing := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", io.LimitReader(zeros{}, 100<<10))
		trailing.ContentLength, trailing.Trailer = -1, http.Header{"X-After": {"after"}}
		if res := proxytest.Do(t, p.client(t, client), trailing); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("with a trailer: %s", res.Status)
		}
		_ = write.CloseWithError(errors.New("given up"))
		running.Wait()
		proxytest.Eventually(t, func() error {
			if res := ask("/", io.LimitReader(zeros{}, 100<<10), 100<<10); res.StatusCode != http.StatusOK {
				return errors.New(res.Status)
			}
			return nil
		})
	})
}
