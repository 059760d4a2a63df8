package proxy

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
)

// DefaultRetryBodyLimit is how much of a request's body is held in memory, in
// bytes, so that it can be sent again.
const DefaultRetryBodyLimit = 1 << 20

const (
	// maxRefusalBody is what is kept of a server's 401, to be passed on if the
	// request cannot be sent again after all.
	maxRefusalBody = 64 << 10
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
	body := message.Hold(r, x.policy.RetryBodyLimit)
	defer body.Forget() // the answer may go on for hours, and keeps its request
	response, err := x.observed(next.RoundTrip(r))
	if renewer == nil || x.auth.Value == "" {
		return response, err
	}
	if response, err = x.taken(response, err); err != nil || response.StatusCode != http.StatusUnauthorized || body.Spilled() {
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
	if x.decide(audit.VerdictResend, auth) != nil {
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
func again(r *http.Request, refused *http.Response, body *message.Held) (*http.Request, bool) {
	kept, err := io.ReadAll(io.LimitReader(refused.Body, maxRefusalBody+1))
	if err != nil || len(kept) > maxRefusalBody {
		refused.Body = &partReadBody{io.MultiReader(bytes.NewReader(kept), refused.Body), refused.Body}
		return nil, false
	}
	refused.Body.Close()
	refused.Body = io.NopCloser(bytes.NewReader(kept))
	rest, ok := body.Next()
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
