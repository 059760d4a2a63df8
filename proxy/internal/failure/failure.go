// Package failure turns errors into the refusals that clients get for them: those of
// reaching a server, of signing, and of reading a target.
package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// NotIntercepted returns the refusal of a target that nothing is signed for.
func NotIntercepted(t hosts.Target) *refuse.Refusal {
	return refuse.New(http.StatusForbidden, "host_refused", "http_request_denied",
		"%s is not among chatgpt.hosts, so nothing is signed for it", t.Authority())
}

// Unsigned returns the refusal of a request that no signer has authorised.
func Unsigned(err error) *refuse.Refusal {
	const denied = "http_request_denied"
	switch signer.CodeOf(err) {
	case signer.RuleRefused:
		return refuse.New(http.StatusForbidden, "rule_refused", denied, "the request was not sent: %s", err)
	case signer.AmbiguousPath:
		return refuse.New(http.StatusForbidden, "ambiguous_path", denied, "the request was not sent: %s", err)
	case signer.BiscuitRefused:
		return refuse.New(http.StatusForbidden, "biscuit_refused", denied, "the request was not sent: %s", err)
	}
	code := string(signer.CodeOf(err))
	if code == "" {
		code = "signing_failed"
	}
	return refuse.New(http.StatusServiceUnavailable, code, "proxy_configuration_error", "the request was not sent, because it cannot be signed: %s", err)
}

// Upstream returns the refusal of a request whose server was not reached, or
// did not answer.
func Upstream(host string, err error) *refuse.Refusal {
	if own, ok := errors.AsType[*upstream.OwnListenerError](err); ok {
		return refuse.New(http.StatusForbidden, "own_listener", "proxy_loop_detected", "%s: %s", host, own)
	}
	if private, ok := errors.AsType[*upstream.PrivateAddressError](err); ok {
		return refuse.New(http.StatusForbidden, "private_address", "destination_ip_prohibited", "%s: %s", host, private)
	}
	if via, ok := errors.AsType[*upstream.ProxyError](err); ok {
		r := Upstream(via.Name(), via.Unwrap())
		return refuse.New(http.StatusBadGateway, "upstream_proxy", r.ProxyError, "%s: %s", host, r.Message)
	}
	if errors.Is(err, message.ErrNotHeld) || upstream.Declined(err) {
		return refuse.New(http.StatusServiceUnavailable, "upstream_busy", "destination_unavailable", "%s: the server has not processed the request: %s; send it again later", host, ownWords(err))
	}
	if _, remote, ok := netconn.AlertOf(err); ok {
		proxyError := "tls_protocol_error"
		if remote {
			proxyError = "tls_alert_received"
		}
		return refuse.New(http.StatusBadGateway, "upstream_tls", proxyError, "%s: TLS failed: %s", host, err)
	}
	var (
		dns       *net.DNSError
		cert      *tls.CertificateVerificationError
		unknown   x509.UnknownAuthorityError
		record    tls.RecordHeaderError
		handshake *netconn.HandshakeError
		timeout   interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return refuse.New(http.StatusBadGateway, "dns_not_found", "dns_error", "%s: no such host; check the name and this machine's name resolution", host)
	case errors.As(err, &dns):
		return refuse.New(http.StatusBadGateway, "dns_failed", "dns_error", "%s: the name cannot be resolved: %s", host, dns.Err)
	case errors.As(err, &cert), errors.As(err, &unknown):
		return refuse.New(http.StatusBadGateway, "upstream_certificate", "tls_certificate_error", "%s: the server's certificate is not trusted: %s; if it is a staging server of yours, name its CA in upstream.ca_file", host, err)
	case errors.As(err, &record):
		return refuse.New(http.StatusBadGateway, "upstream_tls", "tls_protocol_error", "%s: TLS failed: %s", host, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return refuse.New(http.StatusBadGateway, "upstream_refused", "connection_refused", "%s: connection refused", host)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return refuse.New(http.StatusBadGateway, "upstream_timeout", "connection_timeout", "%s: no answer in time: %s", host, err)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return refuse.New(http.StatusBadGateway, "upstream_unreachable", "destination_ip_unroutable", "%s: the network is unreachable", host)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return refuse.New(http.StatusBadGateway, "upstream_closed", "connection_terminated", "%s: the connection was closed before an answer came", host)
	case errors.As(err, &handshake):
		return refuse.New(http.StatusBadGateway, "upstream_tls", "tls_protocol_error", "%s: TLS failed: %s", host, err)
	default:
		return refuse.New(http.StatusBadGateway, "upstream_failed", "destination_unavailable", "%s: %s", host, ownWords(err))
	}
}

// ownWords returns what may be told of an error: what this program, the system or a code of
// HTTP/2 says, and nothing that quotes a server.
func ownWords(err error) string {
	if own, ok := errors.AsType[message.Error](err); ok {
		return own.Error()
	}
	if mistake, ok := errors.AsType[*contain.PanicError](err); ok {
		return mistake.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	if code, ok := upstream.H2Code(err); ok {
		return "the server ended the request with the code " + code
	}
	return "the connection broke, or the answer is not valid HTTP"
}

// Target returns the refusal of a target that cannot be parsed.
func Target(err error) *refuse.Refusal {
	return refuse.New(http.StatusBadRequest, "bad_target", "http_request_error", "%s", err)
}
