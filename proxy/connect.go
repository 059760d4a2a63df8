package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/elazarl/goproxy"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// OtherHosts says which of the hosts that are not intercepted may be reached: all of
// them, those that match Only, or none.
type OtherHosts struct {
	// Refuse refuses every host that Only does not match.
	Refuse bool
	// Only lists the hosts that may be tunnelled when Refuse is set.
	Only hosts.Patterns
	// Ports are the ports that may be reached. nil: [hosts.DefaultPorts]. A host in
	// Only with a port of its own may be reached on that one besides.
	Ports hosts.PortRanges
}

func (o OtherHosts) check(t hosts.Target) *refuse.Refusal {
	if o.Refuse && !o.Only.Match(t.Host, t.Port) {
		return refuse.New(http.StatusForbidden, "host_refused", "http_request_denied",
			"%s is not a host that this proxy forwards to; to allow it, list it in other_hosts", t.Authority())
	}
	ports := o.Ports
	if ports == nil {
		ports = hosts.DefaultPorts()
	}
	if ports.Contain(t.Port) || o.Only.NamePort(t.Host, t.Port) {
		return nil
	}
	return refuse.New(http.StatusForbidden, "port_refused", "http_request_denied",
		"port %s of %s is not one that this proxy forwards to; to allow it, list it in other_ports, or %s in other_hosts", t.Port, t.Host, t.Authority())
}

// checkOther refuses a target that is not intercepted and that clients of profile p
// may not reach.
func (pol *policy) checkOther(p *profile, t hosts.Target) *refuse.Refusal {
	if name := hosts.Skeleton(t.Host); name != "" && pol.Intercept.MatchHost(name) {
		return refuse.New(http.StatusForbidden, "lookalike_host", "http_request_denied",
			"%s looks like %s but is a different host; use the real name", t.Host, name)
	}
	return p.OtherHosts.check(t)
}

// newConnects returns the server of CONNECT: goproxy with one handler, which decides
// in every case, because goproxy tunnels what no handler decides on. Tunnels and
// interception hijack the connection: goproxy's own tunnels run in goroutines that
// nobody can wait for, and its own interception trusts the Host of the inner request.
func newConnects(connect goproxy.FuncHttpsHandler, errorLog *log.Logger) *goproxy.ProxyHttpServer {
	connects := goproxy.NewProxyHttpServer()
	connects.Logger = errorLog
	// goproxy itself may connect to nothing: its defaults do not verify
	// certificates, and read the environment.
	connects.Tr = &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, errNotHere(address)
	}}
	connects.ConnectDial = func(_, address string) (net.Conn, error) { return nil, errNotHere(address) }
	connects.OnRequest().HandleConnectFunc(connect)
	return connects
}

func errNotHere(address string) error { return fmt.Errorf("%s: %w", address, errors.ErrUnsupported) }

// connect decides whether a CONNECT is intercepted, tunnelled or refused.
func (f *front) connect(_ string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
	x := exchangeOf(ctx.Req.Context())
	// The request line alone counts: net/http also fills in a Host field.
	t, err := hosts.ParseTarget(ctx.Req.RequestURI)
	if err != nil {
		return reject(ctx, x, failure.Target(err))
	}
	x.target = t
	if pattern, ok := x.policy.Intercept.Find(t.Host, t.Port); ok {
		x.pattern = pattern.String()
		if refused := x.profile.checkHost(t); refused != nil {
			return reject(ctx, x, refused)
		}
		return hijack(func(client net.Conn) { f.interceptor.intercept(client, x) }), t.Authority()
	}
	if x.policy.Intercept.MatchHost(t.Host) {
		return reject(ctx, x, failure.NotIntercepted(t))
	}
	if refused := x.policy.checkOther(x.profile, t); refused != nil {
		return reject(ctx, x, refused)
	}
	if refused := f.live.add(x, ctx.Req); refused != nil {
		return reject(ctx, x, refused)
	}
	if refused := x.checkRate(); refused != nil {
		return reject(ctx, x, refused)
	}
	if refused := x.decide(audit.VerdictTunnel, nil); refused != nil {
		return reject(ctx, x, refused)
	}
	// Not the request's context: that ends with what the client sends, and a client may
	// send all that it has to say together with its CONNECT.
	return hijack(func(client net.Conn) { tunnel(f.life.ctx, client, x) }), t.Authority()
}

func reject(ctx *goproxy.ProxyCtx, x *exchange, refused *refuse.Refusal) (*goproxy.ConnectAction, string) {
	x.refuseWith(refused)
	x.status = refused.Status
	ctx.Resp = refused.Response(ctx.Req)
	return goproxy.RejectConnect, ctx.Req.RequestURI
}

func hijack(serve func(client net.Conn)) *goproxy.ConnectAction {
	return &goproxy.ConnectAction{
		Action: goproxy.ConnectHijack,
		Hijack: func(_ *http.Request, client net.Conn, _ *goproxy.ProxyCtx) { serve(client) },
	}
}
