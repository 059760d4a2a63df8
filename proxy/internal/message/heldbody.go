package message

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
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

// Hold holds up to limit bytes of the body of r in buffers of pool while it is sent, as far as
// budget has room for them, and sets r.GetBody, by which net/http gets the body again. net/http asks for it if nothing of
// the request was written, the server has refused it unprocessed (REFUSED_STREAM, a
// GOAWAY that leaves it out), or its method or an Idempotency-Key says that sending it
// twice does no harm.
func Hold(r *http.Request, limit int64, budget Budget, pool *Buffers) *Held {
	h := &Held{ctx: r.Context()}
	if r.Body == nil || r.Body == http.NoBody {
		return h
	}
	most := limit
	if r.ContentLength > 0 {
		most = min(most, r.ContentLength)
	}
	h.last = &heldBody{body: r.Body, limit: limit, most: most, budget: budget, held: segments{pool: pool}, spill: r.ContentLength > limit, released: make(chan struct{})}
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
	most     int64 // that there may be to hold
	budget   Budget
	released chan struct{} // closed when the transport is done with the body

	mu      sync.Mutex
	held    segments // what was read by this one or a former one
	ahead   int64    // of held, what this one has yet to give
	taken   int64    // of the budget, for held
	spill   bool     // there was too much to remember
	begun   bool     // something was read, or the end
	reading bool
	closed  bool
}

// Read implements [io.Reader].
func (b *heldBody) Read(p []byte) (_ int, err error) {
	defer contain.Recover(nil, &err) // on a goroutine of a transport it would end the program
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	if b.ahead > 0 {
		defer b.mu.Unlock()
		n := b.held.readAt(p, b.held.size-b.ahead)
		b.ahead -= int64(n)
		b.free()
		return n, nil
	}
	b.begun, b.reading = true, true
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
	b.free()
	return nil
}

func (b *heldBody) spilled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spill && b.begun
}

func (b *heldBody) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun = true // or it could be
	b.drop()
}

// remember appends p to what was read, and reports whether there was room for it.
func (b *heldBody) remember(p []byte) bool {
	if b.held.size+int64(len(p)) > b.limit {
		return false
	}
	for len(p) > 0 {
		n := b.held.write(p)
		if p = p[n:]; n > 0 {
			continue
		}
		size := b.held.next(len(p), b.most-b.held.size)
		if !b.budget.Take(int64(size)) {
			return false
		}
		b.taken += int64(size)
		b.held.add(size)
	}
	return true
}

// drop drops what is held. Nothing is from now on, but for what was promised.
func (b *heldBody) drop() {
	b.budget.Give(b.taken)
	b.spill, b.taken = true, 0
	b.free()
}

// free gives the buffers back, if nobody is to have anything from them any more.
func (b *heldBody) free() {
	if b.spill && (b.ahead == 0 || b.closed) {
		b.ahead = 0
		b.held.free()
	}
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
	if b.spill && b.begun {
		return nil, false
	}
	next := &heldBody{body: b.body, limit: b.limit, most: b.most, budget: b.budget, held: b.held, ahead: b.held.size, taken: b.taken, spill: b.spill, begun: b.begun, released: make(chan struct{})}
	b.spill, b.held, b.ahead, b.taken = true, segments{}, 0, 0 // they are the next one's
	return next, true
}
