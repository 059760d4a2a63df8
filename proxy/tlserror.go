package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"time"
)

// handshakeTimeout bounds a TLS handshake with a server.
const handshakeTimeout = 10 * time.Second

// handshake speaks TLS over conn with the server that must prove to be host. It
// closes conn if that fails.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config, host string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	config = config.Clone()
	config.ServerName = host
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &handshakeError{err}
	}
	return secured, nil
}

// handshakeError says that a TLS handshake failed.
type handshakeError struct{ err error }

// Error implements [error].
func (e *handshakeError) Error() string { return e.err.Error() }

// Unwrap returns what crypto/tls says.
func (e *handshakeError) Unwrap() error { return e.err }

// noApplicationProtocol is the alert of a server that speaks none of the protocols
// it was offered (RFC 7301, 3.2).
const noApplicationProtocol tls.AlertError = 120

// alertOf returns the TLS alert that err tells of, and whether the other side
// sent it. [tls.AlertError] is QUIC's; over TCP the alert is of an unexported
// type inside a [net.OpError].
func alertOf(err error) (alert tls.AlertError, remote, ok bool) {
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
