package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
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
// to the client.
type recovering struct{}

// RoundTrip implements [http.RoundTripper].
func (t recovering) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	next, renewer := x.policy.upstream, x.profile.renewer
	if x.kind != KindRequest {
		return next.RoundTrip(r)
	}
	if renewer == nil || x.auth.Value == "" {
		return x.observed(next.RoundTrip(r))
	}
	body := holdBody(r, x.policy.RetryBodyLimit)
	defer body.forget() // the answer may go on for hours, and keeps its request
	response, err := x.taken(x.observed(next.RoundTrip(r)))
	if err != nil || response.StatusCode != http.StatusUnauthorized || body.spilled() {
		return response, err
	}
	request := signRequest(x)
	request.RefusedAt, _ = http.ParseTime(dateOf(response)) // zero if there is none
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

// observed passes the Date of a server's answer on.
func (x *exchange) observed(response *http.Response, err error) (*http.Response, error) {
	if observe := x.policy.ObserveDate; err == nil && observe != nil {
		observe(dateOf(response))
	}
	return response, err
}

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
func again(r *http.Request, refused *http.Response, body *heldBody) (*http.Request, bool) {
	kept, err := io.ReadAll(io.LimitReader(refused.Body, maxRefusalBody+1))
	if err != nil || len(kept) > maxRefusalBody {
		refused.Body = &partReadBody{io.MultiReader(bytes.NewReader(kept), refused.Body), refused.Body}
		return nil, false
	}
	refused.Body.Close()
	refused.Body = io.NopCloser(bytes.NewReader(kept))
	rest, ok := body.reuse(r.Context())
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

// holdBody has the body of r kept in memory while it is sent, if it may be small
// enough.
func holdBody(r *http.Request, limit int64) *heldBody {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	held := &heldBody{body: r.Body, limit: limit, released: make(chan struct{})}
	held.spill = r.ContentLength > limit
	r.Body = held
	return held
}

// heldBody is a request's body that remembers what was read of it.
type heldBody struct {
	body     io.ReadCloser
	limit    int64
	released chan struct{} // closed when the transport is done with the body

	mu      sync.Mutex
	read    []byte
	spill   bool // there was too much to remember
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

// spilled reports whether the body cannot be sent again. A nil body can.
func (b *heldBody) spilled() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spill
}

// forget lets go of what was read. From then on the body cannot be sent again.
func (b *heldBody) forget() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spill, b.read = true, nil
}

// reuse returns the body from its beginning, as soon as the transport has let go
// of it.
func (b *heldBody) reuse(ctx context.Context) (io.ReadCloser, bool) {
	if b == nil {
		return http.NoBody, true
	}
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
	return &partReadBody{io.MultiReader(bytes.NewReader(b.read), b.body), b.body}, true
}
