package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Limits bound what clients may hold of the proxy. None of them ends an exchange
// that moves, however slowly. A field that is zero has its default.
type Limits struct {
	// Connections bounds the connections of all clients.
	Connections int
	// ConnectionsPerClient bounds the connections of one user of this machine, or of one
	// address, from the moment that they are accepted. 0 is three quarters of Connections.
	ConnectionsPerClient int
	// ConnectionsPerLabel bounds the connections of clients that show one session
	// label. Those that show none are counted together.
	ConnectionsPerLabel int
	// HeaderBytes bounds a request's header.
	HeaderBytes int
	// HeaderFields bounds the number of fields in a request's header.
	HeaderFields int
	// HandshakeTimeout bounds the wait for a request's header, and for a TLS
	// handshake.
	HandshakeTimeout time.Duration
	// IdleTimeout is how long a connection is kept between requests, and how
	// long a client may take no byte at all of what is sent to it.
	IdleTimeout time.Duration
}

// DefaultLimits returns the limits of a proxy that is told nothing else.
func DefaultLimits() Limits {
	return Limits{
		Connections:         4096,
		ConnectionsPerLabel: 1024,
		HeaderBytes:         256 << 10,
		HeaderFields:        1000,
		HandshakeTimeout:    30 * time.Second,
		IdleTimeout:         5 * time.Minute,
	}
}

// The least that limits may be: below, no client that means well is served.
const (
	minHeaderBytes  = 4 << 10 // net/http adds as much to whatever it is told
	minHeaderFields = 20
	minTimeout      = time.Second
)

// Validate says what is wrong with the limits, and with which: its name in the
// configuration.
func (l Limits) Validate() (key string, err error) {
	for _, c := range []struct {
		key        string
		got, least int
	}{
		{"connections", l.Connections, 1},
		{"connections_per_label", l.ConnectionsPerLabel, 1},
		{"header_bytes", l.HeaderBytes, minHeaderBytes},
		{"header_fields", l.HeaderFields, minHeaderFields},
	} {
		if c.got < c.least {
			return c.key, fmt.Errorf("%d is too few for any client; give at least %d", c.got, c.least)
		}
	}
	if l.ConnectionsPerClient < 0 {
		return "connections_per_client", fmt.Errorf("%d is too few for any client; give at least 1, or 0 for three quarters of limits.connections", l.ConnectionsPerClient)
	}
	for _, c := range []struct {
		key string
		got int
	}{
		{"connections_per_client", l.ConnectionsPerClient},
		{"connections_per_label", l.ConnectionsPerLabel},
	} {
		if c.got > l.Connections {
			return c.key, fmt.Errorf("%d is more than limits.connections allows in all, which is %d; lower the one or raise the other", c.got, l.Connections)
		}
	}
	for _, c := range []struct {
		key string
		got time.Duration
	}{
		{"handshake_timeout", l.HandshakeTimeout},
		{"idle_timeout", l.IdleTimeout},
	} {
		if c.got < minTimeout {
			return c.key, fmt.Errorf("%s is too short for any client; give at least %s", c.got, minTimeout)
		}
	}
	return "", nil
}

// orDefaults returns l with the defaults where it says nothing.
func (l Limits) orDefaults() Limits {
	d := DefaultLimits()
	connections := cmp.Or(l.Connections, d.Connections)
	return Limits{
		Connections:          connections,
		ConnectionsPerClient: cmp.Or(l.ConnectionsPerClient, (3*connections+3)/4),
		ConnectionsPerLabel:  cmp.Or(l.ConnectionsPerLabel, d.ConnectionsPerLabel),
		HeaderBytes:          cmp.Or(l.HeaderBytes, d.HeaderBytes),
		HeaderFields:         cmp.Or(l.HeaderFields, d.HeaderFields),
		HandshakeTimeout:     cmp.Or(l.HandshakeTimeout, d.HandshakeTimeout),
		IdleTimeout:          cmp.Or(l.IdleTimeout, d.IdleTimeout),
	}
}

// checkFields refuses a request with more fields than anybody needs. net/http
// bounds their bytes, but an empty field costs it far more than its bytes.
func (l Limits) checkFields(h http.Header) *refuse.Refusal {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	if n <= l.HeaderFields {
		return nil
	}
	return refuse.New(http.StatusRequestHeaderFieldsTooLarge, "too_many_headers", "http_request_error",
		"the request has %d header fields, but limits.header_fields is %d; send fewer, or raise it", n, l.HeaderFields)
}
