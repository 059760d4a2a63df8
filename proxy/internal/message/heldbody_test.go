package message

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestHeldBodies gives the body from its beginning each time, however much of it was
// read before, and no more than the limit.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	const all = "0123456789"
	for _, reads := range [][]int{{0, 10}, {3, 10}, {10, 10}, {5, 2, 10}, {5, 0, 8, 1, 10}} {
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.MultiReader(strings.NewReader(all)))
		held := Hold(r, int64(len(all)))
		body := r.Body
		for i, n := range reads {
			if i > 0 {
				var err error
				if body, err = r.GetBody(); err != nil {
					t.Fatal(err)
				}
			}
			got := make([]byte, n)
			if _, err := io.ReadFull(body, got); err != nil || string(got) != all[:n] {
				t.Errorf("%v: read %d is %q, %v", reads, i, got, err)
			}
		}
		if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
			t.Errorf("%v: %q is left, %v", reads, rest, err)
		}
		held.Forget()
		if _, err := r.GetBody(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%v: %v after it was forgotten", reads, err)
		}
	}
	r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.MultiReader(strings.NewReader(all)))
	Hold(r, 9)
	_, _ = io.ReadAll(r.Body)
	if _, err := r.GetBody(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("%v for what is too long", err)
	}
}
