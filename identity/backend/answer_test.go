package backend

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	b := New(Config{Clock: NewClock(func() time.Time { return now }, nil)})
	for _, test := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "7", 7 * time.Second},
		{503, "7", 7 * time.Second},
		{500, "7", 0},
		{401, "7", 0},
		{429, "", 0},
		{429, "0", 0},
		{429, "-7", 0},
		{429, "soon", 0},
		{429, "99999999999999999999", 0},
		{429, "2000000000", maxRetryAfter},
		{429, now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		{429, now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{429, now.AddDate(1, 0, 0).Format(http.TimeFormat), maxRetryAfter},
	} {
		answer := &http.Response{StatusCode: test.status, Header: http.Header{"Retry-After": {test.value}}}
		if got := b.retryAfter(answer); got != test.want {
			t.Errorf("%d, %q: %s, want %s", test.status, test.value, got, test.want)
		}
	}
}
