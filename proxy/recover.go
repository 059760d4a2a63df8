package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// DefaultRetryBodyLimit is how much of a request's body is held in memory, in
// bytes, so that it can be sent again.
const DefaultRetryBodyLimit = 1 << 20

const (
	// maxRefusalBody is what is kept of a server's 401, to be passed on if the
	// request cannot be sent again after all.
	maxRefusalBody = 64 << 10
	// bodyReleaseTimeout bounds the wait for a transport to let go of a body.
	bodyReleaseTimeout = 5 * time.Second
)

// recovering is a transport that sends a signed request a second time, signed
// anew, when the server has refused its credential. Whatever comes of that goes
// to the client. It also holds the body for net/http to send a request again
// that the server has certainly not processed.
type recovering struct{}

// RoundTrip implements [http.RoundTripper].
func (t recovering) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	next, renewer := x.policy.upstream, x.profile.renewer
	if x.kind != KindRequest {
		return next.RoundTrip(r)
	}
	body := holdBody(r, x.policy.RetryBodyLimit)
	defer body.forget() // the answer may go on for hours, and keeps its request
	response, err := x.observed(next.RoundTrip(r))
	if renewer == nil || x.auth.Value == "" {
		return response, err
	}
	if response, err = x.taken(response, err); err != nil || response.StatusCode != http.StatusUnauthorized || body.spilled() {
		return response, err
	}
	request := signRequest(x)
	if x.fromBackend() {
		request.RefusedAt, _ = http.ParseTime(dateOf(response)) // zero if there is none
	}
	auth, err := renewer.Renew(r.Context(), request, x.auth)
	if err != nil {
		return response, nil // as it came
	}
	again, ok := again(r, response, body)
	if !ok {
		return response, nil
	}
	if x.decide(VerdictResend, auth) != nil {
		return response, nil
	}
	x.former, x.auth, x.retried = x.auth, auth, true
	authorize(again.Header, auth)
	return x.taken(x.observed(next.RoundTrip(again)))
}

// taken tells the signer of a credential that the server has not refused.
func (x *exchange) taken(response *http.Response, err error) (*http.Response, error) {
	if err == nil && response.StatusCode < http.StatusInternalServerError &&
		response.StatusCode != http.StatusUnauthorized && response.StatusCode != http.StatusForbidden {
		x.auth.Accepted(time.Now())
	}
	return response, err
}

// observed passes the Date of the backend's answer on.
func (x *exchange) observed(response *http.Response, err error) (*http.Response, error) {
	if observe := x.policy.ObserveDate; err == nil && observe != nil && x.fromBackend() {
		observe(dateOf(response))
	}
	return response, err
}

// fromBackend reports whether answers to the exchange are the backend's. What the
// time is nobody else may tell: another server could have assertions made that are
// good tomorrow.
func (x *exchange) fromBackend() bool { return x.profile.scope.IsBackend(x.target.Authority()) }

// dateOf returns the Date of a server's answer, "" if the answer is a cached one
// (RFC 9111, 5.1), which tells what time it once was.
func dateOf(response *http.Response) string {
	if response.Header.Get("Age") != "" {
		return ""
	}
	return response.Header.Get("Date")
}

// again returns the request that repeats r. The refused response is closed; its
// body is kept in case that r cannot be repeated.
func again(r *http.Request, refused *http.Response, body *heldBodies) (*http.Request, bool) {
	kept, err := io.ReadAll(io.LimitReader(refused.Body, maxRefusalBody+1))
	if err != nil || len(kept) > maxRefusalBody {
		refused.Body = &partReadBody{io.MultiReader(bytes.NewReader(kept), refused.Body), refused.Body}
		return nil, false
	}
	refused.Body.Close()
	refused.Body = io.NopCloser(bytes.NewReader(kept))
	rest, ok := body.next()
	if !ok {
		return nil, false
	}
	again := r.Clone(r.Context())
	again.Trailer = r.Trailer // filled in when the body ends
	again.Body = rest
	return again, true
}

// partReadBody is a body of which the beginning was read already.
type partReadBody struct {
	io.Reader
	io.Closer
}

// errNotHeld is the error of a request that the server has not processed, and that
// cannot be sent again.
var errNotHeld = errors.New("the server refused the request unprocessed, and not all of its body is held in memory to be sent again")

// holdBody keeps the body of r in memory while it is sent, if it may be small
// enough, and lets net/http have it again. net/http asks for it only if nothing
// of the request was written, the server has refused it unprocessed (REFUSED_STREAM,
// a GOAWAY that leaves it out), or its method or an Idempotency-Key says that
// sending it twice does no harm.
func holdBody(r *http.Request, limit int64) *heldBodies {
	h := &heldBodies{ctx: r.Context()}
	if r.Body == nil || r.Body == http.NoBody {
		return h
	}
	h.last = &heldBody{body: r.Body, limit: limit, spill: r.ContentLength > limit, released: make(chan struct{})}
	r.Body = h.last
	r.GetBody = func() (io.ReadCloser, error) {
		_ = h.last.Close() // it is not always closed by who asks for another
		body, ok := h.next()
		if !ok {
			return nil, errNotHeld
		}
		return body, nil
	}
	return h
}

// heldBodies is the body of a request for each time that it is sent. It is for the
// goroutine that calls RoundTrip.
type heldBodies struct {
	ctx  context.Context
	last *heldBody // nil: the request has no body
}

// next returns the body from its beginning, as soon as the transport has let go
// of the last one.
func (h *heldBodies) next() (io.ReadCloser, bool) {
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

// spilled reports whether the body cannot be sent again. None at all can.
func (h *heldBodies) spilled() bool { return h.last != nil && h.last.spilled() }

// forget lets go of what was read. From then on the body cannot be sent again.
func (h *heldBodies) forget() {
	if h.last != nil {
		h.last.forget()
	}
}

// heldBody is a request's body that remembers what was read of it.
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

// Close notes that the transport is done. It may have another goroutine that
// reads yet: what that gets belongs to the second try, too. The body itself is
// closed by whoever serves the client.
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

// reuse returns the body from its beginning, as soon as the transport has let go
// of it.
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
