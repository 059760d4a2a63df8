package refuse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Refusal is the proxy's own answer to a request that it does not forward: why,
// and what to do about it. It is sent as JSON and, for programs, in a
// Proxy-Status header (RFC 9209).
type Refusal struct {
	Status  int
	Code    string // stable; documented for users
	Message string
	// ProxyError is a proxy error type of RFC 9209, 2.3. "" where the request was
	// none to a proxy; the connection is closed after such a refusal.
	ProxyError string
	// Closes has the client come back on another connection: nothing it sends on
	// this one will be served.
	Closes bool
	// Challenge marks the answer to a client that has shown nothing yet.
	Challenge bool
	// Allow lists the methods of a 405, as its Allow field does.
	Allow string
	// Request says which request was refused, where that is not plain.
	Request *Request
}

// Request is a request as it was understood, and what would allow it.
type Request struct {
	Host   string `json:"host"` // host:port
	Method string `json:"method"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Allow is the lines of YAML that would allow it, "" if none would.
	Allow string `json:"allow,omitempty"`
}

// LimitReached is the proxy error of a client that has too much of something.
const LimitReached = "connection_limit_reached"

func (r *Refusal) Error() string { return r.Message }

func New(status int, code, proxyError, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...), ProxyError: proxyError}
}

func (r *Refusal) Header() http.Header {
	h := http.Header{
		"Content-Type":           {"application/json"},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	if r.ProxyError == LimitReached || r.ProxyError == "" || r.Closes {
		h.Set("Connection", "close") // or it would hold a place all the same
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
	if r.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	return h
}

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

// Serve answers a request with the refusal.
func (r *Refusal) Serve(w http.ResponseWriter) {
	body := r.Body()
	h := w.Header()
	clear(h)
	for name, values := range r.Header() {
		h[name] = values
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}

// Response is the refusal of a CONNECT. The connection is closed after it.
func (r *Refusal) Response(req *http.Request) *http.Response {
	body := r.Body()
	return &http.Response{
		StatusCode: r.Status, ProtoMajor: 1, ProtoMinor: 1,
		Header: r.Header(), Request: req, Close: true,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
