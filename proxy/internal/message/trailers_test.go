package message

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTrailersOnce reads the end of a body twice, as it is when a request is sent again. The
// trailers change by the first one alone.
func TestTrailersOnce(t *testing.T) {
	t.Parallel()
	in := &http.Request{Trailer: http.Header{"X-Sum": nil}}
	out := &http.Request{Body: io.NopCloser(strings.NewReader("body"))}
	ForwardTrailers(out, in, func(string) bool { return false })
	in.Trailer.Set("X-Sum", "1")
	for range 2 {
		if _, err := io.ReadAll(out.Body); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(http.Header{"X-Sum": {"1"}}, out.Trailer); diff != "" {
			t.Error(diff)
		}
		in.Trailer.Set("X-Sum", "2")
	}
}
