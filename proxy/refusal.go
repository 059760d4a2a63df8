package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/agentproxy/agentproxy/signer"
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
	if r.status == http.StatusMethodNotAllowed {
		h.Set("Allow", strings.Join(signer.Methods(), ", "))
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

// refuseUnsigned is the refusal of a request that no signer authorised.
func refuseUnsigned(err error) *refusal {
	const denied = "http_request_denied"
	switch signer.CodeOf(err) {
	case signer.RuleRefused:
		return refuse(http.StatusForbidden, "rule_refused", denied, "the request was not sent: %s", err)
	case signer.AmbiguousPath:
		return refuse(http.StatusForbidden, "ambiguous_path", denied, "the request was not sent: %s", err)
	case signer.BiscuitRefused:
		return refuse(http.StatusForbidden, "biscuit_refused", denied, "the request was not sent: %s", err)
	}
	code := string(signer.CodeOf(err))
	if code == "" {
		code = "signing_failed"
	}
	return refuse(http.StatusServiceUnavailable, code, "proxy_configuration_error", "the request was not sent, because it cannot be signed: %s", err)
}

// refuseUpstream is the refusal that says why a server was not reached, or did
// not answer.
func refuseUpstream(host string, err error) *refusal {
	if own, ok := errors.AsType[*ownListenerError](err); ok {
		return refuse(http.StatusForbidden, "own_listener", "proxy_loop_detected", "%s: %s", host, own)
	}
	if private, ok := errIsPrivate(err); ok {
		return refuse(http.StatusForbidden, "private_address", "destination_ip_prohibited", "%s: %s", host, private)
	}
	if via, ok := errors.AsType[*upstreamProxyError](err); ok {
		r := refuseUpstream(via.name(), via.err)
		return refuse(http.StatusBadGateway, "upstream_proxy", r.proxyError, "%s: %s", host, r.message)
	}
	if h2Declined(err) {
		return refuse(http.StatusServiceUnavailable, "upstream_busy", "destination_unavailable", "%s: the server has not processed the request: %s; send it again later", host, err)
	}
	if _, remote, ok := alertOf(err); ok {
		proxyError := "tls_protocol_error"
		if remote {
			proxyError = "tls_alert_received"
		}
		return refuse(http.StatusBadGateway, "upstream_tls", proxyError, "%s: TLS failed: %s", host, err)
	}
	var (
		dns       *net.DNSError
		cert      *tls.CertificateVerificationError
		unknown   x509.UnknownAuthorityError
		record    tls.RecordHeaderError
		handshake *handshakeError
		timeout   interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return refuse(http.StatusBadGateway, "dns_not_found", "dns_error", "%s: no such host; check the name and this machine's name resolution", host)
	case errors.As(err, &dns):
		return refuse(http.StatusBadGateway, "dns_failed", "dns_error", "%s: the name cannot be resolved: %s", host, dns.Err)
	case errors.As(err, &cert), errors.As(err, &unknown):
		return refuse(http.StatusBadGateway, "upstream_certificate", "tls_certificate_error", "%s: the server's certificate is not trusted: %s; if it is a staging server of yours, name its CA in upstream.ca_file", host, err)
	case errors.As(err, &record):
		return refuse(http.StatusBadGateway, "upstream_tls", "tls_protocol_error", "%s: TLS failed: %s", host, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return refuse(http.StatusBadGateway, "upstream_refused", "connection_refused", "%s: connection refused", host)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return refuse(http.StatusBadGateway, "upstream_timeout", "connection_timeout", "%s: no answer in time: %s", host, err)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return refuse(http.StatusBadGateway, "upstream_unreachable", "destination_ip_unroutable", "%s: the network is unreachable", host)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return refuse(http.StatusBadGateway, "upstream_closed", "connection_terminated", "%s: the connection was closed before an answer came", host)
	case errors.As(err, &handshake):
		return refuse(http.StatusBadGateway, "upstream_tls", "tls_protocol_error", "%s: TLS failed: %s", host, err)
	default:
		return refuse(http.StatusBadGateway, "upstream_failed", "destination_unavailable", "%s: %s", host, err)
	}
}
