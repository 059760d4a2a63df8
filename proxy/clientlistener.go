package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// maxTurnedAway bounds the connections that are told at the same time that there
// is no place for them. Further ones are closed without a word.
const maxTurnedAway = 64

// maxUnread is what is read of a client's request that is not served, so that
// the answer is not lost to a reset.
const maxUnread = 64 << 10

// clientListener accepts clients while there are places for them.
type clientListener struct {
	net.Listener
	p *Proxy
}

// Accept implements [net.Listener].
func (l clientListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		limits := l.p.current().Limits
		if giveBack := l.p.places.Take("", limits.Connections); giveBack != nil {
			return netconn.NewStallConn(c, limits.IdleTimeout, giveBack), nil
		}
		l.p.turnAway(c)
	}
}

// turnAway answers a client for whom there is no place, and waits for nobody.
func (p *Proxy) turnAway(c net.Conn) {
	policy := p.current()
	refused := refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
		"the proxy has as many connections as limits.connections allows, which is %d; close some, or raise it", policy.Limits.Connections)
	if policy.Observe != nil {
		policy.Observe(Outcome{Kind: KindConnection, Time: time.Now(), Status: refused.Status, Refused: refused.Code, Reason: refused.Message})
	}
	giveBack := p.turnedAway.Take("", maxTurnedAway)
	if giveBack == nil {
		c.Close()
		return
	}
	p.serving.Go(func() {
		defer giveBack()
		defer c.Close()
		defer context.AfterFunc(p.ctx, func() { c.Close() })()
		_ = c.SetDeadline(time.Now().Add(refusalTimeout))
		// Not before the client has begun to speak: an answer to nothing is lost
		// on many.
		if n, _ := c.Read(make([]byte, 512)); n == 0 {
			return
		}
		policy.Log.Warn().Str("refused", refused.Code).Str("reason", refused.Message).Msg("connection")
		if refused.Response(nil).Write(c) == nil && netconn.CloseWrite(c) == nil {
			_, _ = io.CopyN(io.Discard, c, maxUnread)
		}
	})
}

type clientConnKey struct{}

// withClientConn has the requests on c know it.
func withClientConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientConnKey{}, c)
}

// admitLabel counts the connection that the exchange's request came on, ctx being
// the request's context, among those of its session label.
func (p *Proxy) admitLabel(ctx context.Context, x *exchange) *refuse.Refusal {
	most := x.profile.ConnectionsPerLabel
	if ctx.Value(clientConnKey{}).(*netconn.StallConn).Join(p.labels, x.label, most) {
		return nil
	}
	return refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
		"clients of the label %q have as many connections as limits.connections_per_label allows, which is %d; close some, or raise it",
		x.label, most)
}
