package exchange

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
)

const (
	// maxConns bounds the connections of all who ask, and connsPerClient those of one user
	// or address.
	maxConns       = 512
	connsPerClient = 64
	// maxHeader bounds the header of a request, in bytes. net/http adds 4 KiB.
	maxHeader = 8 << 10
	// readTimeout bounds the time in which a request comes, and writeTimeout that in which
	// it is answered.
	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = 15 * time.Second
)

// Serve serves h, and nothing else, on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h *Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// net/http would answer OPTIONS * itself.
		DisableGeneralOptionsHandler: true,
	}
	gate := access.Gate{Users: func() access.Users { return nil }, PerClient: connsPerClient, Refusal: tooMany, Panicked: h.panicked}
	return gate.Serve(ctx, l, server, maxConns)
}

// panicked logs a mistake of the program on one connection.
func (h *Handler) panicked(e *contain.PanicError) {
	config, done := h.current()
	defer done()
	config.Log.Error().Msgf("panic: %s\n%s", e, e.Stack())
}

// tooMany returns the response to a connection that is not served.
func tooMany(error) access.Refusal {
	const body = `{"error":"slow_down","error_description":"this address has too many connections; close some","code":"` + TooManyAsked + `"}`
	return access.Refusal{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"5"}}, Body: []byte(body)}
}
