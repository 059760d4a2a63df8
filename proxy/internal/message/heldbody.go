package message

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// bodyReleaseTimeout bounds the wait for a transport to let go of a body.
const bodyReleaseTimeout = 5 * time.Second

// ErrNotHeld is the error of a request that the server has not processed, and whose
// body is no longer held.
var ErrNotHeld = Errorf("the server refused the request unprocessed, and not all of its body is held in memory to be sent again")

// Budget is the memory, in bytes, that bodies are held in.
type Budget interface {
	// Take takes n bytes, and reports whether there were as many left.
	Take(n int64) bool
	// Give gives back n bytes.
	Give(n int64)
}

// Hold holds up to limit bytes of the body of r in memory while it is sent, as far as
// budget has room for them, and sets r.GetBody, by which net/http gets the body again. net/http asks for it if nothing of
// the request was written, the server has refused it unprocessed (REFUSED_STREAM, a
// GOAWAY that leaves it out), or its method or an Idempotency-Key says that sending it
// twice does no harm.
func Hold(r *http.Request, limit int64, budget Budget) *Held {
	h := &Held{ctx: r.Context()}
	if r.Body == nil || r.Body == http.NoBody {
		return h
	}
	h.last = &heldBody{body: r.Body, limit: limit, budget: budget, spill: r.ContentLength > limit, released: make(chan struct{})}
	r.Body = h.last
	r.GetBody = func() (io.ReadCloser, error) {
		_ = h.last.Close() // net/http does not always close it before it asks for another
		body, ok := h.Next()
		if !ok {
			return nil, ErrNotHeld
		}
		return body, nil
	}
	return h
}

// Held is the body of a request that may be sent several times. It is for the
// goroutine that calls RoundTrip.
type Held struct {
	ctx  context.Context
	last *heldBody // nil: the request has no body
}

// Next returns the body from its beginning. It waits until the transport has let go
// of the last one, and reports false if the body is no longer held.
func (h *Held) Next() (io.ReadCloser, bool) {
	if h.last == nil {
		return http.NoBody, true
	}
	next, ok := h.last.reuse(h.ctx)
	if !ok {
		return nil, false
	}
	h.last = next
	return next, true
}

// Spilled reports whether the body cannot be sent again, because there was too much of
// it.
func (h *Held) Spilled() bool { return h.last != nil && h.last.spilled() }

// Forget drops what is held. The body cannot be sent again afterwards.
func (h *Held) Forget() {
	if h.last != nil {
		h.last.forget()
	}
}

// heldBody is a body that remembers what was read of it.
type heldBody struct {
	body     io.Reader
	limit    int64
	budget   Budget
	released chan struct{} // closed when the transport is done with the body

	mu      sync.Mutex
	ahead   []byte // of what a former one has read, what this one has yet to give
	read    []byte // by this one or a former one
	taken   int64  // of the budget, for read
	spill   bool   // there was too much to remember
	reading bool
	closed  bool
}

// Read implements [io.Reader].
func (b *heldBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	if len(b.ahead) > 0 {
		defer b.mu.Unlock()
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		return n, nil
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.spill && !b.remember(p[:n]) {
		b.drop()
	}
	b.reading = false
	if b.closed {
		close(b.released)
	}
	return n, err
}

// Close notes that the transport is done. It may have another goroutine that is still
// reading: those bytes belong to the next try. Whoever serves the client closes the body
// itself.
func (b *heldBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && !b.reading {
		close(b.released)
	}
	b.closed = true
	return nil
}

func (b *heldBody) spilled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spill
}

func (b *heldBody) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
}

// remember appends p to what was read, and reports whether there was room for it.
func (b *heldBody) remember(p []byte) bool {
	need := int64(len(b.read) + len(p))
	if need > b.limit {
		return false
	}
	if need > b.taken {
		size := min(max(need, 2*b.taken), b.limit)
		if !b.budget.Take(size - b.taken) {
			return false
		}
		b.taken = size
		b.read = append(make([]byte, 0, size), b.read...)
	}
	b.read = append(b.read, p...)
	return true
}

// drop drops what is held. Nothing is from now on.
func (b *heldBody) drop() {
	b.budget.Give(b.taken)
	b.spill, b.read, b.taken = true, nil, 0
}

// reuse returns the body from its beginning as soon as the transport has let go of it.
func (b *heldBody) reuse(ctx context.Context) (*heldBody, bool) {
	timeout := time.NewTimer(bodyReleaseTimeout)
	defer timeout.Stop()
	select {
	case <-b.released:
	case <-ctx.Done():
		return nil, false
	case <-timeout.C:
		return nil, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spill {
		return nil, false
	}
	next := &heldBody{body: b.body, limit: b.limit, budget: b.budget, ahead: b.read, read: b.read, taken: b.taken, released: make(chan struct{})}
	b.spill, b.read, b.taken = true, nil, 0 // they are the next one's
	return next, true
}
