package proxy

import (
	"context"
	"io"
	"maps"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// renewingLater tells when a credential is renewed.
type renewingLater struct {
	renewing
	renewed chan struct{}
}

func (r renewingLater) Renew(ctx context.Context, request signer.Request, refused *signer.Authorization) (*signer.Authorization, error) {
	defer close(r.renewed)
	return r.renewing.Renew(ctx, request, refused)
}

// TestResendWhileUploading has the server refuse the credential when the
// beginning of the body has come. What is sent again is all of the body, the
// part too that comes while the first request still waits for it.
func TestResendWhileUploading(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			if r.Header.Get("Authorization") != "Bearer "+renewedToken {
				_, _ = io.ReadFull(r.Body, make([]byte, 5))
				if server == proxytest.H1 {
					w.Header().Set("Connection", "close") // net/http is lost where a body was not read
				}
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_, _ = io.Copy(w, r.Body)
		})
		signer := renewingLater{renewed: make(chan struct{})}
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = signer })
		body, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "begin")
			<-signer.renewed
			for _, part := range []string{" and", " go", " on", " to", " the", " end"} {
				_, _ = io.WriteString(w, part)
			}
			w.Close()
		}()
		res := proxytest.Do(t, p.client(t, client), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body))
		if got := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusOK || got != "begin and go on to the end" {
			t.Errorf("%s, %q", res.Status, got)
		}
	})
}

// renewingWhen takes note of when a credential was refused.
type renewingWhen struct {
	renewing
	refused chan time.Time
}

func (r renewingWhen) Renew(ctx context.Context, request signer.Request, refused *signer.Authorization) (*signer.Authorization, error) {
	r.refused <- request.RefusedAt
	return r.renewing.Renew(ctx, request, refused)
}

// TestRefusedAt has signers know what time it is to the server that refuses their
// credential, unless it does not say, or a cache says it in its place.
func TestRefusedAt(t *testing.T) {
	t.Parallel()
	const date = "Wed, 15 Apr 2026 12:00:00 GMT"
	at := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		header http.Header
		want   time.Time
	}{
		"said":    {http.Header{"Date": {date}}, at},
		"not":     {http.Header{"Date": nil}, time.Time{}},
		"no date": {http.Header{"Date": {"noon"}}, time.Time{}},
		"cached":  {http.Header{"Date": {date}, "Age": {"7"}}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+renewedToken {
					maps.Copy(w.Header(), test.header)
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			signer := renewingWhen{refused: make(chan time.Time, 1)}
			p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = signer })
			if res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			if got := <-signer.refused; !got.Equal(test.want) {
				t.Errorf("refused at %v, want %v", got, test.want)
			}
		})
	}
}

// TestBodyIsNotKept has answers that go on and on for requests with large
// bodies. What was kept of those is let go when the credential was accepted. It is
// not parallel, for it measures memory.
func TestBodyIsNotKept(t *testing.T) {
	const requests, size = 64 / lighter, DefaultRetryBodyLimit
	release := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	c := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = renewing{} }).client(t, proxytest.H1)
	t.Cleanup(func() { close(release) })
	before := heapInUse()
	for range requests {
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", io.LimitReader(proxytest.ZeroReader{}, size))
		r.ContentLength = size
		proxytest.Do(t, c, r)
	}
	if grown := heapInUse() - before; grown > requests*size/2 {
		t.Errorf("%d requests hold %d bytes", requests, grown)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // and what finalizers have let go
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
