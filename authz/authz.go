// Package authz answers gateways that ask what to put on a request which they are
// about to send themselves: nginx, Traefik, Caddy, Envoy and others that use the same
// protocols.
//
// [proxy.Proxy.Authorize] decides. This package knows who may ask, how each kind of
// gateway says which request it means, and how it is answered:
//
//	guard      who may ask                                         guard.go
//	http       nginx's auth_request, forward auth, Envoy's HTTP    http.go
//	grpc       Envoy's ext_authz over gRPC                         grpc.go
//	message    its messages                                        message.go
package authz

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// Config says who may ask, and who decides. Authorize is required.
type Config struct {
	// Authorize decides.
	Authorize func(context.Context, proxy.Ask) proxy.Answer
	// Token is the token that gateways must show. "" asks for none, which is for listeners
	// that nobody else can reach.
	Token string
	// Users are the users whose processes may ask without a token. nil allows all.
	Users access.Users
	// LabelHeader names the field in which gateways send a session label. If it is "", all
	// requests share one session.
	LabelHeader string
	// Refused, if set, is told of each request and connection that is turned away, and its
	// peer's address where that is known.
	Refused func(peer string, refused proxy.Answer)
	// Panicked, if set, is told of mistakes of the program, which end a connection alone.
	Panicked func(*contain.PanicError)
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute
	drainTimeout  = 10 * time.Second
	// maxHeader leaves room for the client's header, which many gateways send along.
	maxHeader = 256 << 10
	// maxConns is far more than gateways keep open, and connsPerClient than one does.
	maxConns       = 4096
	connsPerClient = 1024
	// maxStrangers bounds what those send who have not shown that they may ask, in bytes.
	maxStrangers = 8 << 20
)

// Serve answers gateways that connect to l until ctx ends. Each question goes by
// the configuration in force when it comes.
func Serve(ctx context.Context, l net.Listener, current func() Config) error {
	return serveWithin(ctx, l, current, headerTimeout)
}

// serveWithin is [Serve] with the time in which a client must send the header of a request.
func serveWithin(ctx context.Context, l net.Listener, current func() Config, header time.Duration) error {
	s := newServer(current)
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: header,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         new(http.Protocols),
		// net/http would answer OPTIONS * itself.
		DisableGeneralOptionsHandler: true,
		HTTP2:                        &http.HTTP2Config{MaxReadFrameSize: 16 << 10}, // each connection has a buffer for one
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // gRPC
	gate := access.Gate{
		Users: func() access.Users { return current().Users }, PerClient: connsPerClient, Strangers: maxStrangers, Drain: drainTimeout,
		Refusal: func(why error) access.Refusal { return turnedAway(current(), why) },
		Panicked: func(e *contain.PanicError) {
			if tell := current().Panicked; tell != nil {
				tell(e)
			}
		},
	}
	return gate.Serve(ctx, l, server, maxConns)
}

func (c Config) note(peer string, refused proxy.Answer) {
	if c.Refused != nil {
		c.Refused(peer, refused)
	}
}

// turnedAway returns the response to a connection that is not served, of which nothing has
// been read.
func turnedAway(config Config, why error) access.Refusal {
	refused := refuseUser(why)
	if errors.Is(why, access.ErrTooMany) {
		refused = proxy.Refusal(http.StatusServiceUnavailable, "too_many_connections", why.Error())
	}
	config.note("", refused)
	return access.Refusal{Status: refused.Status, Header: refused.Header, Body: refused.Body}
}

// server answers gateways over HTTP and gRPC.
type server struct {
	current func() Config
	grpc    http.Handler
}

func newServer(current func() Config) *server {
	return &server{current: current, grpc: envoy{current: current}.handler()}
}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	config := s.current()
	if refused, ok := config.admit(r); !ok {
		config.note(r.RemoteAddr, refused)
		if access.IsStranger(r.Context()) {
			w.Header().Set("Connection", "close") // what it has sent goes on being counted
		}
		write(w, refused)
		return
	}
	access.LetIn(r.Context())
	if speaksGRPC(r) {
		s.grpc.ServeHTTP(w, r)
		return
	}
	config.serve(w, r)
}

// write sends an answer.
func write(w http.ResponseWriter, a proxy.Answer) {
	maps.Copy(w.Header(), a.Header)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}
