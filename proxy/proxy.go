// Package proxy is a forward HTTP proxy that puts credentials on requests to
// chosen hosts.
//
// A CONNECT to an intercepted host is answered with TLS of our own, and every
// request inside it is sent on with the Authorization that a [signer.Signer]
// gives for it. The client never holds that credential. Everything else is
// tunnelled without being looked at, or refused.
//
// The path of a request through the package:
//
//	front      who may enter, and what kind of request it is      front.go
//	connect    what becomes of a CONNECT                          connect.go
//	tunnel     bytes both ways                                    tunnel.go
//	intercept  TLS and HTTP towards the client                    intercept.go, h1server.go
//	authority  the request is for where the tunnel leads          authority.go
//	scope      whether the request may carry a credential         scope.go, method.go, crosssite.go
//	grant      what is put on the request, or why nothing is      grant.go
//	relay      the outgoing request and the answer's way back     relay.go, forward.go
//	transport  connections to servers                             transport.go, h1transport.go, dialer.go
//
// What all of them go by is a policy (policy.go), which [Proxy.Reconfigure]
// replaces while exchanges run.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elazarl/goproxy"
	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// Leaves issues the certificates that intercepted hosts are impersonated with.
type Leaves interface {
	Leaf(host string) (*tls.Certificate, error)
}

// Config says what a [Proxy] does. Signer, Scope, Leaves and Intercept are needed.
type Config struct {
	// Intercept lists the hosts whose requests are decrypted, and signed if they are
	// in scope.
	Intercept hosts.Patterns
	// OtherHosts says what becomes of all other hosts.
	OtherHosts OtherHosts
	// Signer authorises the requests to intercepted hosts.
	Signer signer.Signer
	// Scope says which of them are signed. The others are refused.
	Scope *signer.Scope
	// Profiles differ from this for clients with certain session labels. The
	// first that matches holds.
	Profiles []Profile
	// Leaves issues a certificate for every intercepted host.
	Leaves Leaves
	// Clients says who may use the proxy.
	Clients access.Config
	// Upstream says how servers are reached.
	Upstream upstream.Config
	// Limits bound what clients may hold of the proxy.
	Limits Limits
	// RetryBodyLimit bounds the bodies, in bytes, that are held in memory so that
	// a request whose credential was refused can be sent again. 0:
	// [DefaultRetryBodyLimit]; negative: only requests without a body are.
	RetryBodyLimit int64
	// ObserveDate, if set, is told the Date header of every answer from an
	// intercepted host.
	ObserveDate func(date string)
	// Audit, if set, is told of every decision before it is carried out.
	Audit audit.Auditor
	// Observe, if set, is told how every exchange ended. It is called on the way
	// of every request, so it must be quick.
	Observe func(Outcome)
	// ObserveQuota, if set, is told what answers say of the account's limits, with the
	// profile that asked and the answer's status.
	ObserveQuota func(profile string, status int, q usage.Quota)
	// ObserveUsage, if set, is told what each response says it used. For that the
	// answers to inference are read along. It must be quick.
	ObserveUsage func(usage.Entry)
	// Log gets a line for every exchange.
	Log zerolog.Logger
}

// refusalTimeout is for a client to take the proxy's own short answer.
const refusalTimeout = 5 * time.Second

// maxStreams bounds the requests that run on one HTTP/2 connection.
const maxStreams = 250

// Proxy is a forward proxy. It implements no http.Handler: it is served with
// [Proxy.Serve], for it owns connections and not only requests.
type Proxy struct {
	policy        atomic.Pointer[policy]
	reconfiguring sync.Mutex // held while policy is replaced

	upgrader *httputil.ReverseProxy
	buffers  *message.Buffers

	front             *http.Server // what clients connect to
	connects          *goproxy.ProxyHttpServer
	intercepted       *interceptListener
	interceptedServer *http.Server
	h1                *h1server.Server // what of intercepted connections it takes

	places     *track.Limiter // of connections, all under one name
	labels     *track.Limiter // of connections, by session label
	turnedAway *track.Limiter // of connections that are told there is no place

	own upstream.OwnListeners

	// ctx ends when running exchanges are to be cut.
	ctx context.Context
	cut context.CancelCauseFunc

	mu       sync.Mutex
	draining bool
	born     time.Time
	wake     wakeWatch
	serving  sync.WaitGroup  // Serve calls and the intercepted server
	running  *track.InFlight // exchanges and tunnels
	live     *live           // those of them whose target is known
}

// New returns a proxy for config, which must have a Signer and Leaves. It
// serves intercepted connections from now on; [Proxy.Shutdown] must be called
// to release it.
func New(config Config) *Proxy {
	p := &Proxy{intercepted: newInterceptListener(), running: track.NewInFlight(), live: newLive(), born: time.Now()}
	p.ctx, p.cut = context.WithCancelCause(context.Background())
	p.places, p.labels, p.turnedAway = track.NewLimiter(), track.NewLimiter(), track.NewLimiter()
	p.policy.Store(newPolicy(config, &p.own, nil))
	// net/http reports here what clients do wrong, with their addresses and
	// words in it. That is for debugging.
	errorLog := log.New(debugWriter{p}, "", 0)
	p.buffers = new(message.Buffers)
	p.upgrader = newUpgrader(recovering{}, p.buffers, errorLog)
	p.connects = newConnects(p.connect, errorLog)
	p.front = p.newServer(http.HandlerFunc(p.serveFront))
	p.front.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return withClientConn(access.Users(nil).ConnContext(ctx, c), c)
	}
	p.interceptedServer = p.newInterceptServer()
	p.front.ErrorLog, p.interceptedServer.ErrorLog = errorLog, errorLog

	limits := p.current().Limits
	p.h1 = h1server.New(h1server.Config{
		Handler: p.interceptedServer.Handler, TLS: p.interceptedServer.TLSConfig, HandOver: p.handOver,
		ConnContext: interceptedContext, BaseContext: p.ctx, ErrorLog: errorLog,
		HandshakeTimeout: limits.HandshakeTimeout, IdleTimeout: limits.IdleTimeout,
		Linger: h1server.Linger{Pause: 500 * time.Millisecond, Total: 5 * time.Second},
	})

	p.serving.Go(func() { _ = p.interceptedServer.Serve(p.intercepted) })
	p.serving.Go(p.cutRevoked)
	return p
}

func (p *Proxy) newServer(handler http.Handler) *http.Server {
	limits := p.current().Limits
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: limits.HandshakeTimeout,
		IdleTimeout:       limits.IdleTimeout,
		// net/http would answer OPTIONS * itself.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               limits.HeaderBytes,
		BaseContext:                  func(net.Listener) context.Context { return p.ctx },
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// A client that is gone without a word is found out.
			SendPingTimeout: 60 * time.Second,
			PingTimeout:     15 * time.Second,
		},
	}
}

// Serve serves clients that connect to l until [Proxy.Shutdown] is called,
// when it returns nil. It may be called for several listeners.
func (p *Proxy) Serve(l net.Listener) error {
	p.mu.Lock()
	if p.draining {
		p.mu.Unlock()
		_ = l.Close()
		return nil
	}
	p.serving.Add(1)
	p.mu.Unlock()
	defer p.serving.Done()
	defer p.own.Add(l.Addr())()
	if err := p.front.Serve(clientListener{l, p}); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// NeverDial has the proxy refuse to connect to an address that the program
// listens on besides those that it serves on: that of an admin port.
func (p *Proxy) NeverDial(addr net.Addr) { p.own.Add(addr) }

// errCut is the cause of exchanges that outlived the drain.
var errCut = errors.New("cut because the proxy is being stopped")

// Shutdown stops the proxy: no new connection is accepted, and it waits for the
// running exchanges, streams, WebSockets and tunnels among them. Those that
// have not ended when ctx does are cut, and ctx's error is returned. Nothing of
// the proxy is left running when Shutdown returns.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()

	// In the order in which requests pass: what the one lets through the next
	// still serves.
	err := p.front.Shutdown(ctx)
	if err == nil {
		err = p.h1.Shutdown(ctx)
	}
	if err == nil {
		err = p.interceptedServer.Shutdown(ctx)
	}
	if err == nil {
		err = p.running.Wait(ctx)
	}
	p.cut(errCut)
	_ = p.front.Close()
	_ = p.interceptedServer.Close()
	_ = p.intercepted.Close()
	_ = p.running.Wait(context.Background())
	p.serving.Wait()
	p.current().upstream.CloseIdleConnections()
	return err
}

// begin notes the beginning of an exchange. Every exchange must be ended.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request, kind string) *exchange {
	p.running.Add(1)
	// Over HTTP/1 an answer would wait for the request's body to end, which is
	// for ever where the client waits for the answer.
	_ = http.NewResponseController(w).EnableFullDuplex()
	pol := p.hold()
	now := time.Now()
	if p.wake.woke(now.Round(0), now.Sub(p.born)) {
		pol.upstream.CloseIdleConnections()
	}
	x := &exchange{
		ResponseWriter: w, policy: pol, kind: kind, method: r.Method, http10: !r.ProtoAtLeast(1, 1), started: now,
		stall: streamStall(w, r, pol.Limits.IdleTimeout),
		peer:  r.RemoteAddr, auditor: pol.Audit, warnings: &pol.Log,
	}
	x.bodyLeft.Store(r.ProtoMajor == 1 && r.ContentLength != 0)
	return x
}

// end is deferred by whoever has begun x. A panic passes through it to
// net/http, which closes the connection or the stream.
func (p *Proxy) end(x *exchange) {
	v := recover()
	upgraded := x.status == http.StatusSwitchingProtocols // ends without a panic
	switch {
	case x.revoked.Load():
		x.failure = "cut because the client would not be let in any more"
	case x.failure != "":
	case p.ctx.Err() != nil && (v != nil || upgraded):
		x.failure = context.Cause(p.ctx).Error()
	case v == nil:
	case v == http.ErrAbortHandler:
		x.failure = "cut"
	default:
		x.failure = "internal error"
	}
	if x.tap != nil {
		x.tap.Close()
	}
	x.log(&x.policy.Log)
	p.live.end(x)
	if x.policy.Observe != nil {
		x.policy.Observe(x.outcome())
	}
	x.policy.release()
	p.running.Add(-1)
	if v != nil {
		panic(v)
	}
}

// debugWriter writes net/http's own log.
type debugWriter struct{ p *Proxy }

func (w debugWriter) Write(line []byte) (int, error) {
	w.p.current().Log.Debug().Str("from", "net/http").Msg(string(trimNewline(line)))
	return len(line), nil
}

func trimNewline(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return line[:n-1]
	}
	return line
}
