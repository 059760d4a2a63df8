package proxy

import (
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestTruncatedAnswer has the server break off in the middle of its answer. The
// client must notice: a part must not pass for the whole.
func TestTruncatedAnswer(t *testing.T) {
	t.Parallel()
	for _, length := range []bool{true, false} {
		t.Run("known length "+strconv.FormatBool(length), func(t *testing.T) {
			t.Parallel()
			proxytest.EachWay(t, func(t *testing.T, client, server string) {
				backend := proxytest.NewBackend(t, server, breakOff(length))
				c := startProxy(t, backend.Listener.Addr().String()).client(t, client)
				wantTruncated(t, proxytest.Get(t, c, proxytest.Origin+"/"))
				if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/whole").Body); got != "whole" {
					t.Errorf("after it: %q", got)
				}
			})
		})
	}
}

// breakOff sends a part of an answer, and nothing more.
func breakOff(length bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/whole" {
			_, _ = io.WriteString(w, "whole")
			return
		}
		if length {
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, "a part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

func wantTruncated(t *testing.T, res *http.Response) {
	t.Helper()
	got, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || string(got) != "a part" || err == nil {
		t.Errorf("%s, %q, %v; want a part, and an error", res.Status, got, err)
	}
}

// TestTruncatedRequest has the client break off in the middle of its request.
// The server must notice.
func TestTruncatedRequest(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		arrived, ended := make(chan struct{}), make(chan error, 1)
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, len("a part")))
			close(arrived)
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
		body, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "a part")
			<-arrived
			w.CloseWithError(io.ErrUnexpectedEOF)
		}()
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body)
		if res, err := startProxy(t, backend.Listener.Addr().String()).client(t, client).Do(r); err == nil {
			res.Body.Close()
			t.Errorf("answered %s", res.Status)
		}
		if err := <-ended; err == nil {
			t.Error("the server took a part for the whole")
		}
	})
}
