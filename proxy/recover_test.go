package proxy

import (
	"context"
	"io"
	"net/http"
	"testing"

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
	eachWay(t, func(t *testing.T, client, server string) {
		backend := newBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			if r.Header.Get("Authorization") != "Bearer "+renewedToken {
				_, _ = io.ReadFull(r.Body, make([]byte, 5))
				if server == h1 {
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
		res := do(t, p.client(t, client), newRequest(t, http.MethodPost, origin+"/", body))
		if got := readAll(t, res.Body); res.StatusCode != http.StatusOK || got != "begin and go on to the end" {
			t.Errorf("%s, %q", res.Status, got)
		}
	})
}
