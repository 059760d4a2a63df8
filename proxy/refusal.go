package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// refusal is the proxy's own answer to a request that it does not forward: why,
// and what to do about it. It is sent as JSON and, for programs, in a
// Proxy-Status header (RFC 9209).
type refusal struct {
	status  int
	code    string // stable; documented for users
	message string
	// proxyError is a proxy error type of RFC 9209, 2.3. "" where the request was
	// none to a proxy; the connection is closed after such a refusal.
	proxyError string
	// closes has the client come back on another connection: nothing it sends on
	// this one will be served.
	closes bool
	// challenge marks the answer to a client that has shown nothing yet.
	challenge bool
	// allow lists the methods of a 405, as its Allow field does.
	allow string
	// request says which request was refused, where that is not plain.
	request *refusedRequest
}

// refusedRequest is a request as it was understood, and what would allow it.
type refusedRequest struct {
	Host   string `json:"host"` // host:port
	Method string `json:"method"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	// Allow is the lines of YAML that would allow it, "" if none would.
	Allow string `json:"allow,omitempty"`
}

// limitReached is the proxy error of a client that has too much of something.
const limitReached = "connection_limit_reached"

func (r *refusal) Error() string { return r.message }

func refuse(status int, code, proxyError, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, message: fmt.Sprintf(format, args...), proxyError: proxyError}
}

func (r *refusal) header() http.Header {
	h := http.Header{
		"Content-Type":           {"application/json"},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	if r.proxyError == limitReached || r.proxyError == "" || r.closes {
		h.Set("Connection", "close") // or it would hold a place all the same
	}
	if r.proxyError != "" {
		h.Set("Proxy-Status", "agentproxy; error="+r.proxyError+"; details="+strconv.Quote(r.code))
	}
	if r.status == http.StatusProxyAuthRequired {
		h.Set("Proxy-Authenticate", `Basic realm="agentproxy", charset="UTF-8"`)
	}
	if r.allow != "" {
		h.Set("Allow", r.allow)
	}
	if r.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	return h
}

func (r *refusal) body() []byte {
	type detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		*refusedRequest
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Structs of strings cannot fail to encode.
	_ = enc.Encode(struct {
		Error detail `json:"error"`
	}{detail{r.code, r.message, r.request}})
	return b.Bytes()
}

// serve answers a request with the refusal.
func (r *refusal) serve(w http.ResponseWriter) {
	body := r.body()
	h := w.Header()
	clear(h)
	for name, values := range r.header() {
		h[name] = values
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(body)
}

// response is the refusal of a CONNECT. The connection is closed after it.
func (r *refusal) response(req *http.Request) *http.Response {
	body := r.body()
	return &http.Response{
		StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header(), Request: req, Close: true,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
