// Package proxy is a forward HTTP proxy that puts credentials on requests to chosen
// hosts.
//
// It answers a CONNECT to an intercepted host with TLS of its own, and sends every
// request inside on with the Authorization that a [signer.Signer] gives for it. The
// client never holds that credential. Everything else is tunnelled without being
// looked at, or refused.
//
// A request passes through these files and packages:
//
//	accept     a place for the connection                          accept.go
//	front      who may enter, and what kind of request it is       front.go; access
//	connect    whether a CONNECT is intercepted                    connect.go; hosts
//	tunnel     bytes both ways                                     tunnel.go
//	intercept  TLS and HTTP with the client                        intercept.go; internal/h1server
//	checks     the request is one request, and for this tunnel     internal/checks; access
//	sign       whether it may carry a credential, and which        sign.go, scope.go; audit
//	relay      the outgoing request, and the response's way back   relay.go, upgrade.go; internal/message
//	resend     once more with another credential, after a 401      resend.go
//	upstream   connections to servers                              upstream; internal/h1client
//
// All of them go by a policy (policy.go), which [Proxy.Reconfigure] replaces while
// exchanges run. An exchange (exchange.go) is one request on that way. Whatever is
// refused on it is refused with an internal/refuse.Refusal.
package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// Leaves issues the certificates that intercepted hosts are impersonated with.
type Leaves interface {
	Leaf(host string) (*tls.Certificate, error)
}

// Config says what a [Proxy] does. Signer, Scope, Leaves and Intercept are required.
type Config struct {
	// Intercept lists the hosts whose requests are decrypted, and signed if they are
	// in scope.
	Intercept hosts.Patterns
	// OtherHosts says which other hosts may be reached.
	OtherHosts OtherHosts
	// Signer authorises the requests to intercepted hosts.
	Signer signer.Signer
	// Scope says which of them are signed. The proxy refuses the others.
	Scope *signer.Scope
	// Profiles replace some of this for clients with certain session labels. The first
	// that matches is used.
	Profiles []Profile
	// Leaves issues a certificate for every intercepted host.
	Leaves Leaves
	// Clients says who may use the proxy.
	Clients access.Config
	// Labels remembers which client uses which label. nil: a book of the proxy's own. It
	// stays that of [New].
	Labels *access.LabelBook
	// Upstream says how servers are reached.
	Upstream upstream.Config
	// Limits bound what one client, and all clients together, may use.
	Limits access.Limits
	// Rates bound what clients without a profile ask for.
	Rates ratelimit.Rules
	// RetryBodyLimit bounds the bodies, in bytes, that are held in memory so that a
	// request whose credential was refused can be sent again. 0 is
	// [DefaultRetryBodyLimit]; if it is negative, only requests without a body are sent
	// again.
	RetryBodyLimit int64
	// ObserveDate, if set, is called with the Date field of every response from the
	// backend.
	ObserveDate func(date string)
	// Audit, if set, records every decision before it is carried out.
	Audit audit.Auditor
	// Observe, if set, is called with the outcome of every exchange. It must be quick.
	Observe func(Outcome)
	// ObserveQuota, if set, is called with what responses say of the account's limits,
	// the profile that asked, and the response's status.
	ObserveQuota func(profile string, status int, q usage.Quota)
	// ObserveUsage, if set, is called with what each response says it used. For that
	// the responses to inference are read along. It must be quick.
	ObserveUsage func(usage.Entry)
	// Log gets a line for every exchange.
	Log zerolog.Logger
}

const (
	// refusalTimeout bounds the time in which a client takes a short answer of ours.
	refusalTimeout = 5 * time.Second
	// maxStreams bounds the requests that run on one HTTP/2 connection.
	maxStreams = 100
	// maxStrangersHead bounds the header of a client that is not admitted yet, in bytes.
	maxStrangersHead = 32 << 10
	// uploadWindow bounds what is held of a connection's HTTP/2 requests, in bytes, while
	// their server does not read.
	uploadWindow = 256 << 10
)

// Proxy is a forward proxy. It is no [http.Handler]: it owns connections and not
// only requests, so it is served with [Proxy.Serve].
type Proxy struct {
	policies    policies
	places      places
	descriptors track.Scarcity
	// strangers are clients that are not let in.
	strangers strangers
	life      lifetime
	live      *running // the exchanges whose target is known
	sleep     *track.SleepWatch
	labels    *access.LabelBook
	forwarder

	front       *http.Server // serves what clients connect to
	interceptor *interceptor
}

// lifetime is what a Proxy waits for when it is stopped.
type lifetime struct {
	// ctx ends when running exchanges are to be cut.
	ctx context.Context
	cut context.CancelCauseFunc

	mu       sync.Mutex
	draining bool
	serving  sync.WaitGroup  // Serve calls and intercepted connections
	running  *track.InFlight // exchanges and tunnels
}

// New returns a proxy for config. It serves intercepted connections from now on;
// [Proxy.Shutdown] must be called to release it.
func New(config Config) *Proxy {
	p := &Proxy{sleep: track.NewSleepWatch(), labels: config.Labels, forwarder: forwarder{new(message.Buffers), track.NewTurns(0)}}
	p.places.turnedAway = netconn.Refuser{Most: maxTurnedAway, Timeout: refusalTimeout}
	if p.labels == nil {
		p.labels = access.NewLabelBook(time.Now)
	}
	p.life.running = track.NewInFlight()
	p.life.ctx, p.life.cut = context.WithCancelCause(context.Background())
	config.Upstream.Turns = p.turns
	p.policies.current.Store(newPolicy(config, &p.policies.own, nil))
	p.strangers = newStrangers(p.current, strangerInterval)
	p.live = newRunning(boundsOf(p.current().Limits))
	p.life.serving.Go(func() { p.live.set.Watch(p.life.ctx, p.cutRevoked) })
	// net/http reports here what clients do wrong, and quotes them.
	errorLog := log.New(debugWriter{p}, "", 0)
	f := &front{Proxy: p}
	f.connects = newConnects(f.connect, errorLog)
	p.front = p.newServer(f, errorLog)
	p.front.MaxHeaderBytes = min(p.front.MaxHeaderBytes, maxStrangersHead)
	p.front.ConnContext = clientContext
	p.interceptor = newInterceptor(p, errorLog)
	return p
}

func (p *Proxy) newServer(handler http.Handler, errorLog *log.Logger) *http.Server {
	limits := p.current().Limits
	return &http.Server{
		Handler:           handler,
		ErrorLog:          errorLog,
		ReadHeaderTimeout: limits.HandshakeTimeout,
		IdleTimeout:       limits.IdleTimeout,
		// Otherwise net/http would answer OPTIONS * itself.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               limits.HeaderBytes,
		BaseContext:                  func(net.Listener) context.Context { return p.life.ctx },
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              16 << 10, // each connection has a buffer for one
			MaxReceiveBufferPerConnection: uploadWindow,
			MaxReceiveBufferPerStream:     uploadWindow,
			// These find out a client that is gone without closing the connection.
			SendPingTimeout: max(limits.PingAfter, 0),
			PingTimeout:     15 * time.Second,
		},
	}
}

// current returns the policy in force. It may be replaced meanwhile, so that an
// exchange holds one instead.
func (p *Proxy) current() *policy { return p.policies.current.Load() }

// Reconfigure puts config in force for the exchanges that begin from now on. Those
// that run keep what they began with. The channel is closed when the last of them
// has ended: then nothing of the former configuration is in use any more.
//
// A tunnel to an intercepted host lives on. The requests inside are exchanges of
// their own: each goes by the configuration in force when it comes, and is refused if
// the client would not be admitted by it.
//
// Limits that net/http enforces (HeaderBytes, HandshakeTimeout, PingAfter, and IdleTimeout
// between requests) stay those of [New].
func (p *Proxy) Reconfigure(config Config) (released <-chan struct{}) {
	config.Upstream.Turns = p.turns
	released = p.policies.replace(config)
	p.live.set.SetBounds(boundsOf(p.current().Limits))
	return released
}

// Serve serves the clients that connect to l. It returns nil when [Proxy.Shutdown]
// is called. It may be called for several listeners.
func (p *Proxy) Serve(l net.Listener) error {
	p.life.mu.Lock()
	if p.life.draining {
		p.life.mu.Unlock()
		_ = l.Close()
		return nil
	}
	p.life.serving.Add(1)
	p.life.mu.Unlock()
	defer p.life.serving.Done()
	defer p.policies.own.Add(l.Addr())()
	lobby := netconn.NewLobby(clientListener{l, p}, p.front.ReadHeaderTimeout)
	defer lobby.Wait()
	if err := p.front.Serve(lobby); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// NeverDial makes the proxy refuse to connect to an address that the program listens
// on besides those that it serves on, such as that of an admin port.
func (p *Proxy) NeverDial(addr net.Addr) { p.policies.own.Add(addr) }

// errCut is the cause of exchanges that outlived the drain.
var errCut = errors.New("cut because the proxy is being stopped")

// Shutdown stops the proxy: it accepts no new connection and waits for the running
// exchanges, among them streams, WebSockets and tunnels. Those that have not ended
// when ctx does are cut, and ctx's error is returned. Nothing of the proxy is left
// running when Shutdown returns.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.life.mu.Lock()
	p.life.draining = true
	p.life.mu.Unlock()

	// In the order in which requests pass: what one server lets through, the next
	// still serves.
	err := p.front.Shutdown(ctx)
	if err == nil {
		err = p.interceptor.h1.Shutdown(ctx)
	}
	if err == nil {
		err = p.interceptor.server.Shutdown(ctx)
	}
	if err == nil {
		err = p.life.running.Wait(ctx)
	}
	p.life.cut(errCut)
	_ = p.front.Close()
	_ = p.interceptor.server.Close()
	_ = p.interceptor.others.Close()
	_ = p.life.running.Wait(context.Background())
	p.life.serving.Wait()
	p.strangers.Stop()
	p.current().upstreams.CloseIdleConnections(nil)
	return err
}

// Traffic returns what the proxy carries now.
func (p *Proxy) Traffic() Traffic { return p.live.traffic() }

// Running returns the running exchanges, the latest first, at most most of them.
func (p *Proxy) Running(most int) []Running { return p.live.running(most) }

// begin returns a new exchange, which must be ended with end.
func (p *Proxy) begin(w http.ResponseWriter, r *http.Request, kind string) *exchange {
	p.life.running.Add(1)
	// Otherwise a response over HTTP/1 would wait for the end of the request's body,
	// which its client may send only after it has read the response.
	_ = http.NewResponseController(w).EnableFullDuplex()
	pol := p.policies.hold()
	now := time.Now()
	if p.sleep.Woke(now) {
		pol.upstreams.CloseIdleConnections(nil)
	}
	x := &exchange{
		ResponseWriter: w,
		policy:         pol,
		strangers:      p.strangers,
		facts:          facts{kind: kind, method: r.Method, finalOnly: !r.ProtoAtLeast(1, 1), peer: r.RemoteAddr},
	}
	x.started = now
	if r.ProtoMajor == 2 {
		// Its connection may be as alive as can be, so that the limit of
		// [netconn.StallConn] does not find out a client that lets nothing through.
		x.stream, x.Stall = true, pol.Limits.IdleTimeout
	}
	x.bodyLeft.Store(r.ContentLength != 0)
	return x
}

// end ends an exchange, unless it goes on. It must be deferred by the caller of begin. It panics
// again with what the exchange panicked with: net/http closes the connection or the stream then.
func (p *Proxy) end(x *exchange) {
	v := recover()
	if goOn := x.goOn; v == nil && goOn != nil {
		x.goOn, x.ResponseWriter = nil, nil
		p.life.serving.Go(func() { contain.Do(p.panicked, func() { defer p.end(x); goOn(p.life.ctx) }) })
		return
	}
	lingers := false
	// A stream whose request has not ended is reset behind its response. Some clients, curl 7.88
	// among them, lose what came together with that.
	if x.stream && v == nil && x.status != 0 && x.cut.Load() == nil && !x.bodyLeft.Load() {
		lingers = p.live.set.Linger(x)
	}
	if x.stream && v == nil && x.status != 0 && !lingers {
		// Whatever is left would wait for the client's window when the exchange is no longer
		// listed: its request would be held, and nobody could cut it.
		if !x.Listed() {
			_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(time.Now().Add(time.Second))
		}
		_ = x.FlushError()
	}
	switch {
	case x.cut.Load() != nil:
		x.failure = *x.cut.Load()
		x.culprit.Set(cut.Proxy)
	case x.failure != "":
	case p.life.ctx.Err() != nil && (v != nil || x.status == http.StatusSwitchingProtocols): // which ends without a panic
		x.failure = context.Cause(p.life.ctx).Error()
		x.culprit.Set(cut.Proxy)
	case v == http.ErrAbortHandler, v == nil && x.culprit.Side() != "":
		x.failure = "cut"
	case v == nil:
	default:
		x.failure = "internal error"
		x.culprit.Set(cut.Proxy)
	}
	if x.tap != nil {
		x.tap.Close()
	}
	x.log(&x.policy.Log)
	if !lingers {
		p.live.end(x)
	}
	if x.endStream != nil {
		x.endStream()
	}
	if x.policy.Observe != nil {
		x.policy.Observe(outcomeOf(x))
	}
	x.policy.release()
	p.life.running.Add(-1)
	if v != nil {
		panic(v)
	}
}

// debugWriter writes the log of net/http into the debug log, but for panics, which are the
// program's own mistakes.
type debugWriter struct{ p *Proxy }

// Write implements [io.Writer].
func (w debugWriter) Write(line []byte) (int, error) {
	level := zerolog.DebugLevel
	if bytes.HasPrefix(line, []byte("http: panic serving ")) || bytes.HasPrefix(line, []byte("http2: panic serving ")) {
		level = zerolog.ErrorLevel
	}
	w.p.current().Log.WithLevel(level).Str("from", "net/http").Msg(string(bytes.TrimSuffix(line, []byte{'\n'})))
	return len(line), nil
}

// OutOfDescriptors reports whether a client could not connect a moment ago because the
// system had no descriptor for it.
func (p *Proxy) OutOfDescriptors() bool { return p.descriptors.Scarce(time.Now()) }
