package access

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Limits bound what one client, and all clients together, may use. None of them ends an
// exchange that moves, however slowly. A field that is zero has its default.
type Limits struct {
	// Connections bounds the connections of all clients.
	Connections int
	// ConnectionsPerClient bounds the connections of one user of this machine, or of one
	// address, from the moment that they are accepted. 0 is three quarters of Connections.
	ConnectionsPerClient int
	// ConnectionsPerLabel bounds the connections of clients with the same session label.
	// Those without one are counted together.
	ConnectionsPerLabel int
	// LabelsPerClient bounds the session labels that one user of this machine, or one
	// address, may use at once, and the new ones within an hour, where clients choose
	// their labels.
	LabelsPerClient int
	// RequestsPerLabel bounds the requests, WebSockets and tunnels of clients that show
	// one session label, and run at the same time.
	RequestsPerLabel int
	// Memory is divided among what clients have the proxy hold, in bytes. 0: half of the memory
	// limit of the process (GOMEMLIMIT), or 1 GiB if it has none.
	Memory int64
	// HeaderBytes bounds a request's header.
	HeaderBytes int
	// HeaderFields bounds the number of fields in a request's header.
	HeaderFields int
	// HandshakeTimeout bounds the wait for a request's header, and for a TLS
	// handshake.
	HandshakeTimeout time.Duration
	// IdleTimeout bounds how long a connection is kept between requests, and how long a
	// client may read nothing of what is sent to it.
	IdleTimeout time.Duration
	// PingAfter is how long a client may send nothing over HTTP/2 before it is pinged, so that
	// one that is gone is found out. A negative one is for ever.
	PingAfter time.Duration
}

// DefaultLimits returns the default of each limit.
func DefaultLimits() Limits {
	return Limits{
		Connections:         4096,
		ConnectionsPerLabel: 1024,
		LabelsPerClient:     64,
		RequestsPerLabel:    1024,
		HeaderBytes:         256 << 10,
		HeaderFields:        1000,
		HandshakeTimeout:    30 * time.Second,
		IdleTimeout:         5 * time.Minute,
		PingAfter:           time.Minute,
	}
}

// The least values of limits. With less, no ordinary client is served.
const (
	minHeaderBytes  = 4 << 10 // net/http adds as much to whatever it is told
	minHeaderFields = 20
	minTimeout      = time.Second
	minMemory       = 16 << 20
)

// Check calls found for each limit that is too small or contradicts another, with its key in
// the configuration.
func (l Limits) Check(found func(key string, err error)) {
	for _, c := range []struct {
		key        string
		got, least int
	}{
		{"connections", l.Connections, 1},
		{"connections_per_label", l.ConnectionsPerLabel, 1},
		{"labels_per_client", l.LabelsPerClient, 1},
		{"requests_per_label", l.RequestsPerLabel, 1},
		{"header_bytes", l.HeaderBytes, minHeaderBytes},
		{"header_fields", l.HeaderFields, minHeaderFields},
	} {
		if c.got < c.least {
			found(c.key, fmt.Errorf("%d is too few for any client; give at least %d", c.got, c.least))
		}
	}
	if l.Memory != 0 && l.Memory < minMemory {
		found("memory", fmt.Errorf("%d is too little for any client; give at least %d, or 0 for half of the memory limit of the process", l.Memory, minMemory))
	}
	if l.ConnectionsPerClient < 0 {
		found("connections_per_client", fmt.Errorf("%d is too few for any client; give at least 1, or 0 for three quarters of limits.connections", l.ConnectionsPerClient))
	}
	for _, c := range []struct {
		key string
		got int
	}{
		{"connections_per_client", l.ConnectionsPerClient},
		{"connections_per_label", l.ConnectionsPerLabel},
	} {
		if l.Connections > 0 && c.got > l.Connections {
			found(c.key, fmt.Errorf("%d is more than limits.connections allows in all, which is %d; lower the one or raise the other", c.got, l.Connections))
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
			found(c.key, fmt.Errorf("%s is too short for any client; give at least %s", c.got, minTimeout))
		}
	}
	if l.PingAfter >= 0 && l.PingAfter < minTimeout {
		found("ping_after", fmt.Errorf("%s is too short for any client; give at least %s, or 0s for no pings", l.PingAfter, minTimeout))
	}
}

// OrDefaults returns l with the defaults for the fields that are zero.
func (l Limits) OrDefaults() Limits {
	d := DefaultLimits()
	connections := cmp.Or(l.Connections, d.Connections)
	return Limits{
		Connections:          connections,
		ConnectionsPerClient: cmp.Or(l.ConnectionsPerClient, (3*connections+3)/4),
		ConnectionsPerLabel:  cmp.Or(l.ConnectionsPerLabel, d.ConnectionsPerLabel),
		LabelsPerClient:      cmp.Or(l.LabelsPerClient, d.LabelsPerClient),
		RequestsPerLabel:     cmp.Or(l.RequestsPerLabel, d.RequestsPerLabel),
		Memory:               l.Memory,
		HeaderBytes:          cmp.Or(l.HeaderBytes, d.HeaderBytes),
		HeaderFields:         cmp.Or(l.HeaderFields, d.HeaderFields),
		HandshakeTimeout:     cmp.Or(l.HandshakeTimeout, d.HandshakeTimeout),
		IdleTimeout:          cmp.Or(l.IdleTimeout, d.IdleTimeout),
		PingAfter:            cmp.Or(l.PingAfter, d.PingAfter),
	}
}

// CheckFields refuses a request with too many header fields. net/http bounds their bytes,
// but an empty field costs it far more than its bytes.
func (l Limits) CheckFields(h http.Header) *refuse.Refusal {
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
