package netconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
)

// Handshake does a TLS handshake with the server at the other end of conn, which
// must have a certificate for host. roots returns the certificates that verify the
// server's; if it is nil, those of config do. If it fails, or ctx ends before, it
// closes conn and returns a [*HandshakeError].
func Handshake(ctx context.Context, conn net.Conn, config *tls.Config, roots func() *x509.CertPool, host string) (*tls.Conn, error) {
	config = config.Clone()
	config.ServerName = host
	if roots != nil {
		config.RootCAs = roots()
	}
	secured := tls.Client(quick(conn), config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &HandshakeError{err}
	}
	return secured, nil
}

// HandshakeError is the error of a TLS handshake.
type HandshakeError struct{ err error }

// Error implements [error].
func (e *HandshakeError) Error() string { return e.err.Error() }

// Unwrap returns the error of crypto/tls.
func (e *HandshakeError) Unwrap() error { return e.err }

// AlertNoApplicationProtocol is the alert of a server that speaks none of the
// protocols it was offered (RFC 7301, section 3.2).
const AlertNoApplicationProtocol tls.AlertError = 120

// AlertOf returns the TLS alert inside err, and whether the peer sent it. [tls.AlertError] is QUIC's; over TCP the alert is of an unexported
// type inside a [net.OpError].
func AlertOf(err error) (alert tls.AlertError, remote, ok bool) {
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return alert, true, true
	}
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok {
			return 0, false, false
		}
		if op.Op == "remote error" || op.Op == "local error" {
			if v := reflect.ValueOf(op.Err); v.IsValid() && v.Kind() == reflect.Uint8 {
				return tls.AlertError(v.Uint()), op.Op == "remote error", true
			}
		}
		err = op.Err
	}
}
