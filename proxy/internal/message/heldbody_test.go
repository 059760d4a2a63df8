package message

import (
	"errors"
	"io"
	"net/http"
	"runtime"
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
		h := Hold(r, size, &room, new(Buffers))
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
		held := Hold(r, int64(len(all)), &room, new(Buffers))
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
	Hold(r, 9, &room, new(Buffers))
	_, _ = io.ReadAll(r.Body)
	if _, err := r.GetBody(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("%v for what is too long", err)
	}
}

// TestHeldBodyIsNotCopied measures what holding a large body allocates besides the body itself.
// It is not parallel, because all allocations count.
func TestHeldBodyIsNotCopied(t *testing.T) {
	const size = 4 << 20
	room := budget{left: 2 * size}
	r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.LimitReader(zeros{}, size))
	r.ContentLength = size
	held := Hold(r, size, &room, new(Buffers))
	buffer := make([]byte, 16<<10)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, buffer); n != size || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if held.Spilled() {
		t.Error("it is not held")
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > size*5/4 {
		t.Errorf("%d bytes were allocated for %d", allocated, size)
	}
	if taken := 2*size - room.left; taken > size*5/4 {
		t.Errorf("%d bytes of the budget were taken for %d", taken, size)
	}
}

// zeros are zeros without end.
type zeros struct{}

// Read implements [io.Reader].
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestForgottenBodyGoesOn forgets a body that is being sent a second time, when its buffers may be
// another body's next. It goes on as it was.
func TestForgottenBodyGoesOn(t *testing.T) {
	t.Parallel()
	var pool Buffers
	room := budget{left: 1 << 20}
	for _, size := range []int{100, smallSize, 5 * smallSize, 100 << 10} {
		all := strings.Repeat("mine", size/4)
		hold := func(all string) (*http.Request, *Held) {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin, io.MultiReader(strings.NewReader(all)))
			h := Hold(r, int64(len(all)), &room, &pool)
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Fatal(err)
			}
			return r, h
		}
		r, h := hold(all)
		again, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(all))
		for i := 0; i < len(all); {
			n, err := again.Read(got[i:min(i+1000, len(all))])
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				h.Forget()
			}
			i += n
			_, other := hold(strings.Repeat("yours", size/4)) // takes whatever buffers there are
			other.Forget()
		}
		if string(got) != all {
			t.Errorf("%d: another body's bytes were sent", size)
		}
		again.Close()
	}
	if room.left != 1<<20 {
		t.Errorf("%d bytes were not given back", 1<<20-room.left)
	}
}
