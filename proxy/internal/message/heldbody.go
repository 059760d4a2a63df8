package message

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// bodyReleaseTimeout bounds the wait for a transport to let go of a body.
const bodyReleaseTimeout = 5 * time.Second

// ErrNotHeld is the error of a request that the server has not processed, and whose
// body is no longer held.
var ErrNotHeld = errors.New("the server refused the request unprocessed, and not all of its body is held in memory to be sent again")

// Hold holds up to limit bytes of the body of r in memory while it is sent, and sets
// r.GetBody, by which net/http gets the body again. net/http asks for it if nothing of
// the request was written, the server has refused it unprocessed (REFUSED_STREAM, a
// GOAWAY that leaves it out), or its method or an Idempotency-Key says that sending it
// twice does no harm.
func Hold(r *http.Request, limit int64) *Held {
	h := &Held{ctx: r.Context()}
	if r.Body == nil || r.Body == http.NoBody {
		return h
	}
	h.last = &heldBody{body: r.Body, limit: limit, spill: r.ContentLength > limit, released: make(chan struct{})}
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
	released chan struct{} // closed when the transport is done with the body

	mu      sync.Mutex
	ahead   []byte // of what a former one has read, what this one has yet to give
	read    []byte // by this one or a former one
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
	if !b.spill && int64(len(b.read)+n) > b.limit {
		b.spill, b.read = true, nil
	}
	if !b.spill {
		b.read = append(b.read, p[:n]...)
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
	b.spill, b.read = true, nil
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
	if b.spilled() {
		return nil, false
	}
	read := slices.Clip(b.read) // what is appended must not be another's
	return &heldBody{body: b.body, limit: b.limit, ahead: read, read: read, released: make(chan struct{})}, true
}
