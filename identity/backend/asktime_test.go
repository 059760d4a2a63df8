package backend

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// TestAskTime asks the server of the base URL for the time when another refuses what was
// signed by an offset that holds no longer.
func TestAskTime(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	clock := NewClock(func() time.Time { return now }, nil)
	clock.Observe(now.Add(9 * time.Minute).UTC().Format(http.TimeFormat))
	b := New(Config{BaseURL: "https://chatgpt.com/backend-api", Clock: clock, Transport: roundTrip(func(r *http.Request) *http.Response {
		if r.Header.Get("Authorization") != "" && r.URL.Host == "chatgpt.com" {
			t.Error("a credential went along")
		}
		return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}, Body: io.NopCloser(strings.NewReader(""))}
	})})
	if _, _, err := b.do(t.Context(), call{doing: "test", method: http.MethodPost, url: "https://auth.openai.com/x"}); err == nil {
		t.Error("it was not refused")
	}
	if got := clock.Offset(); got != 0 {
		t.Errorf("the offset is still %s", got)
	}
}
