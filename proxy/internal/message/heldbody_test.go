package message

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// budget is a [Budget] of so many bytes.
type budget struct{ left, least int64 }

func (b *budget) Take(n int64) bool {
	if n > b.left {
		return false
	}
	b.Give(-n)
	return true
}

func (b *budget) Give(n int64) {
	b.left += n
	b.least = min(b.least, b.left)
}

// TestHeldBodiesInBudget holds bodies as far as there is room, sends the others all the
// same, and gives back what it took whatever becomes of them.
func TestHeldBodiesInBudget(t *testing.T) {
	t.Parallel()
	const size = 100 << 10
	all := strings.Repeat("0123456789", size/10)
	room := budget{left: 3*size + 10}
	var held []*Held
	for i := range 5 {
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.MultiReader(strings.NewReader(all)))
		h := Hold(r, size, &room)
		held = append(held, h)
		if got, err := io.ReadAll(r.Body); err != nil || string(got) != all {
			t.Fatalf("%d: %d bytes, %v", i, len(got), err)
		}
		if fits := i < 3; h.Spilled() == fits {
			t.Errorf("%d: spilled is %t", i, h.Spilled())
		}
		body, err := r.GetBody()
		if i >= 3 {
			if !errors.Is(err, ErrNotHeld) {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != all {
			t.Errorf("%d: again %d bytes, %v", i, len(got), err)
		}
	}
	if room.left >= size || room.least < 0 {
		t.Errorf("%d bytes are left of the budget, and %d were", room.left, room.least)
	}
	for _, h := range held {
		h.Forget()
		h.Forget()
	}
	if want := int64(3*size + 10); room.left != want {
		t.Errorf("%d bytes were given back, want %d", room.left, want)
	}
}

// TestHeldBodies gives the body from its beginning each time, however much of it was
// read before, and no more than the limit.
func TestHeldBodies(t *testing.T) {
	t.Parallel()
	room := budget{left: 1 << 20}
	const all = "0123456789"
	for _, reads := range [][]int{{0, 10}, {3, 10}, {10, 10}, {5, 2, 10}, {5, 0, 8, 1, 10}} {
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.MultiReader(strings.NewReader(all)))
		held := Hold(r, int64(len(all)), &room)
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
	Hold(r, 9, &room)
	_, _ = io.ReadAll(r.Body)
	if _, err := r.GetBody(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("%v for what is too long", err)
	}
}
