package backend_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBackendIsSlow gives up after 15 seconds, or when the caller does.
func TestBackendIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := backend.New(backend.Config{BaseURL: baseURL, Transport: roundTripper(
			func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})})
		start := time.Now()
		_, err := backend.Biscuit(t.Context(), "secret-token", baseURL+"/v1/agent/register")
		if err == nil || !strings.Contains(err.Error(), "at chatgpt.com: no answer within 15s") || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = backend.Biscuit(ctx, "secret-token", baseURL+"/v1/agent/register")
		if err == nil || strings.Contains(err.Error(), "15s") {
			t.Errorf("error %v", err)
		}
	})
}
