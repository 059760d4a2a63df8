package proxy

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/signer"
)

// DefaultRetryBodyLimit is how much of a request's body is held in memory, in
// bytes, so that it can be sent again.
const DefaultRetryBodyLimit = 1 << 20

// maxRefusalBody bounds, in bytes, the body of a server's 401 that is kept for the
// case that the request cannot be sent again after all.
const maxRefusalBody = 64 << 10

// resender is an [http.RoundTripper] that sends the request of an exchange. If the
// server refuses its credential, it signs the request anew and sends it a second
// time. It also holds the body so that net/http can repeat a request that the server
// has certainly not processed.
type resender struct{}

// RoundTrip implements [http.RoundTripper].
func (resender) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	next, renewer := x.profile.upstream, x.profile.renewer
	if x.kind != KindRequest {
		return next.RoundTripFor(x.label, x.Window, x.Many, r)
	}
	body := message.Hold(r, x.policy.RetryBodyLimit, x, x.buffers)
	defer body.Forget() // the response may go on for hours, and keeps its request
	res, err := next.RoundTripFor(x.label, x.Window, x.Many, r)
	observeDate(x, res, err)
	if renewer == nil || x.auth.Value == "" {
		return res, err
	}
	if noteAccepted(x.auth, res, err); err != nil || res.StatusCode != http.StatusUnauthorized || body.Spilled() {
		return res, err
	}
	request := x.signRequest()
	if isBackend(x) {
		request.RefusedAt, _ = http.ParseTime(dateOf(res)) // zero if there is none
	}
	auth, err := renewer.Renew(r.Context(), request, x.auth)
	if err != nil {
		return res, nil // as it came
	}
	again, ok := rebuild(r, res, body)
	if !ok || x.decide(audit.VerdictResend, auth) != nil {
		return res, nil
	}
	x.former, x.auth = x.auth, auth
	credential.Authorize(again.Header, auth)
	res, err = next.RoundTripFor(x.label, x.Window, x.Many, again)
	observeDate(x, res, err)
	noteAccepted(x.auth, res, err)
	return res, err
}

// noteAccepted tells the signer of a credential that the server has not refused.
func noteAccepted(auth *signer.Authorization, res *http.Response, err error) {
	if err == nil && res.StatusCode < http.StatusInternalServerError &&
		res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		auth.Accepted(time.Now())
	}
}

// observeDate passes on the Date of the backend's response.
func observeDate(x *exchange, res *http.Response, err error) {
	if observe := x.policy.ObserveDate; err == nil && observe != nil && isBackend(x) {
		observe(dateOf(res))
	}
}

// isBackend reports whether the exchange's server is the backend. No other may say
// what the time is: assertions would be made that are valid tomorrow.
func isBackend(x *exchange) bool { return x.profile.scope.IsBackend(x.target.Authority()) }

// dateOf returns the Date of a response, "" if it comes from a cache (RFC 9111,
// section 5.1) and so gives the time of its making.
func dateOf(res *http.Response) string {
	if res.Header.Get("Age") != "" {
		return ""
	}
	return res.Header.Get("Date")
}

// rebuild returns the request that repeats r. It closes the refused response, but
// keeps its body for the case that r cannot be repeated.
func rebuild(r *http.Request, refused *http.Response, body *message.Held) (*http.Request, bool) {
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

// partReadBody is a body whose beginning has been read already.
type partReadBody struct {
	io.Reader
	io.Closer
}
