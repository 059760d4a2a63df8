package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

const (
	// maxTurnedAway bounds the connections that are told at the same time that there
	// is no place for them. Further ones are closed without an answer.
	maxTurnedAway = 64
	// maxUnread bounds what is read, in bytes, of a request that is not served, so that
	// the answer is not lost to a reset.
	maxUnread = 64 << 10
)

// places counts the connections of clients.
type places struct {
	all        *track.Limiter // under one name
	labels     *track.Limiter // by session label
	turnedAway *track.Limiter // those that are told that there is no place
}

func newPlaces() places {
	return places{track.NewLimiter(), track.NewLimiter(), track.NewLimiter()}
}

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
		if giveBack := l.p.places.all.Take("", limits.Connections); giveBack != nil {
			return netconn.NewStallConn(c, limits.IdleTimeout, netconn.Head{Take: l.p.live.set.TakeHead, Refuse: l.p.refuseStranger}, giveBack), nil
		}
		l.reject(c)
	}
}

// reject answers, on a goroutine of its own, a client for which there is no place.
func (l clientListener) reject(c net.Conn) {
	policy := l.p.current()
	refused := refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
		"the proxy has as many connections as limits.connections allows, which is %d; close some, or raise it", policy.Limits.Connections)
	if policy.Observe != nil {
		policy.Observe(Outcome{Kind: KindConnection, Time: time.Now(), Status: refused.Status, Refused: refused.Code, Reason: refused.Message})
	}
	giveBack := l.p.places.turnedAway.Take("", maxTurnedAway)
	if giveBack == nil {
		c.Close()
		return
	}
	l.p.life.serving.Go(func() {
		defer giveBack()
		defer c.Close()
		defer context.AfterFunc(l.p.life.ctx, func() { c.Close() })()
		_ = c.SetDeadline(time.Now().Add(refusalTimeout))
		// Many clients ignore an answer that comes before their request.
		if n, _ := c.Read(make([]byte, 512)); n == 0 {
			return
		}
		policy.Log.Warn().Str("refused", refused.Code).Str("reason", refused.Message).Msg("connection")
		if refused.Response(nil).Write(c) == nil && netconn.CloseWrite(c) == nil {
			_, _ = io.CopyN(io.Discard, c, maxUnread)
		}
	})
}

// refuseStranger answers a client whose head there is no room for.
func (p *Proxy) refuseStranger(c net.Conn) {
	refused := live.RefuseStranger()
	policy := p.current()
	policy.Log.Warn().Str("refused", refused.Code).Str("reason", refused.Message).Msg("connection")
	if policy.Observe != nil {
		policy.Observe(Outcome{Kind: KindConnection, Time: time.Now(), Status: refused.Status, Refused: refused.Code, Reason: refused.Message})
	}
	_ = c.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_ = refused.Response(nil).Write(c)
}

type clientConnKey struct{}

// withClientConn returns the context of the requests on c.
func withClientConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientConnKey{}, c)
}

// admitLabel counts the connection that the exchange's request came on, ctx being
// the request's context, among those of its session label.
func (pl places) admitLabel(ctx context.Context, x *exchange) *refuse.Refusal {
	most := x.profile.ConnectionsPerLabel
	if ctx.Value(clientConnKey{}).(*netconn.StallConn).Join(pl.labels, x.label, most) {
		return nil
	}
	return refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
		"clients of the label %q have as many connections as limits.connections_per_label allows, which is %d; close some, or raise it",
		x.label, most)
}
