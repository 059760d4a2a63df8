package backend_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
)

// TestTimeOfAccounts learns what the time is from the server of the base URL, and not from
// the one that refreshes tokens.
func TestTimeOfAccounts(t *testing.T) {
	t.Parallel()
	client := backend.New(backend.Config{BaseURL: baseURL, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: http.StatusBadRequest, Request: r, Body: io.NopCloser(strings.NewReader("{}")),
			Header: http.Header{"Date": {time.Now().Add(5 * time.Minute).UTC().Format(http.TimeFormat)}},
		}, nil
	})})
	if _, err := client.Refresh(t.Context(), "refresh"); err == nil {
		t.Error("refreshed")
	}
	if offset := client.Clock().Offset(); offset != 0 {
		t.Errorf("the accounts service is believed to be %s ahead", offset)
	}
	if _, err := client.Biscuit(t.Context(), "token", baseURL+"/v1/agent/register"); err == nil {
		t.Error("a biscuit")
	}
	if offset := client.Clock().Offset(); offset < 4*time.Minute {
		t.Errorf("the backend is believed to be %s ahead", offset)
	}
}
