// Package refuse has the proxy's own answers to requests that it does not forward.
//
// A refusal has a code, which is stable and explained in docs/troubleshooting.md, and
// a message, which says what was refused and how to allow it. It is sent as JSON and,
// for programs, in a Proxy-Status field (RFC 9209).
package refuse

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Refusal is the answer to a request that is not forwarded.
type Refusal struct {
	Status  int
	Code    string
	Message string
	// ProxyError is a proxy error type. It is "" if the request was not one to a proxy;
	// the connection is closed after such a refusal.
	ProxyError string
	// Closes closes the connection, because nothing that the client sends on it will be
	// served.
	Closes bool
	// RetryAfter is when a client may come again, in whole seconds rounded up. 0: in
	// [defaultRetryAfter] if the status is 503, else it is not said.
	RetryAfter time.Duration
	// Challenge marks the answer to a client that has shown no token yet.
	Challenge bool
	// Allow lists the methods of a 405, as its Allow field does.
	Allow string
	// Request says which request was refused. It may be nil.
	Request *Request
}

// Request is a request as the proxy understood it, and what would allow it.
type Request struct {
	Host   string `json:"host"` // host:port
	Method string `json:"method"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Allow holds the lines of YAML that would allow it, "" if none would.
	Allow string `json:"allow,omitempty"`
}

// defaultRetryAfter is the Retry-After of a 503 if nobody knows when its cause ends.
const defaultRetryAfter = 5 * time.Second

// LimitReached is the proxy error type of a client that uses too much of something.
const LimitReached = "connection_limit_reached"

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// New returns a refusal with a status, a code and a proxy error type (RFC 9209, section
// 2.3), and the message that format and args make.
func New(status int, code, proxyError, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...), ProxyError: proxyError}
}

// Busy returns the refusal of a client that has, or all of which have, as much in use as
// there is. It may come again soon.
func Busy(format string, args ...any) *Refusal {
	return New(http.StatusServiceUnavailable, "busy", "http_request_denied", format, args...)
}

// Header returns the header that the refusal is sent with.
func (r *Refusal) Header() http.Header {
	h := http.Header{
		"Content-Type":           {"application/json"},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	if r.ProxyError == LimitReached || r.ProxyError == "" || r.Closes {
		h.Set("Connection", "close") // or the connection would keep its place
	}
	if r.ProxyError != "" {
		h.Set("Proxy-Status", "agentproxy; error="+r.ProxyError+"; details="+strconv.Quote(r.Code))
	}
	if r.Status == http.StatusProxyAuthRequired {
		h.Set("Proxy-Authenticate", `Basic realm="agentproxy", charset="UTF-8"`)
	}
	if r.Allow != "" {
		h.Set("Allow", r.Allow)
	}
	after := r.RetryAfter
	if r.Status == http.StatusServiceUnavailable {
		after = cmp.Or(after, defaultRetryAfter)
	}
	if after > 0 {
		h.Set("Retry-After", strconv.Itoa(Seconds(after)))
	}
	return h
}

// Seconds returns d in seconds, rounded up, as Retry-After has it (RFC 9110, section 10.2.3).
func Seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Body returns the refusal in JSON.
func (r *Refusal) Body() []byte {
	type detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		*Request
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Structs of strings cannot fail to encode.
	_ = enc.Encode(struct {
		Error detail `json:"error"`
	}{detail{r.Code, r.Message, r.Request}})
	return b.Bytes()
}

// Serve sends the refusal in place of the header that w has.
func (r *Refusal) Serve(w http.ResponseWriter) {
	body := r.Body()
	h := w.Header()
	clear(h)
	maps.Copy(h, r.Header())
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}

// Response returns the refusal of a CONNECT, after which the connection is closed.
func (r *Refusal) Response(req *http.Request) *http.Response {
	body := r.Body()
	return &http.Response{
		StatusCode: r.Status, ProtoMajor: 1, ProtoMinor: 1,
		Header: r.Header(), Request: req, Close: true,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// Bytes returns the refusal as it is written to a connection, which is closed afterwards.
func (r *Refusal) Bytes() []byte {
	var b bytes.Buffer
	_ = r.Response(nil).Write(&b) // a buffer takes all
	return b.Bytes()
}
