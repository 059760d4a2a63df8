package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// maxTurnedAway bounds the connections that are waited for at the same time, to tell them that there
// is no place for them.
const maxTurnedAway = 64

// places counts the connections of clients.
type places struct {
	all        track.Limiter // under one name
	clients    track.Limiter // by user or address
	labels     track.Limiter // by session label
	turnedAway netconn.Refuser
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
			// The lobby tries again by itself, and tells nobody.
			if track.IsScarcity(err) && l.p.descriptors.Note(time.Now()) {
				l.p.current().Log.Warn().AnErr("error", err).
					Msg("the system has no descriptor for a client's connection; raise the limit (LimitNOFILE=, ulimit -n), or lower limits.connections")
			}
			return nil, err
		}
		limits := l.p.current().Limits
		if giveBack := l.p.places.all.Take("", limits.Connections); giveBack != nil {
			return l.p.newClientConn(netconn.NewStallConn(c, limits.IdleTimeout, netconn.Head{Take: l.p.live.set.TakeHead, Refuse: l.p.refuseStranger, Turns: l.p.turns, Panicked: l.p.panicked}, giveBack)), nil
		}
		// On a goroutine of its own, so that no other client waits.
		l.p.life.serving.Go(func() {
			defer c.Close()
			contain.Do(l.p.panicked, func() {
				l.p.turnAway(c, refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
					"the proxy has as many connections as limits.connections allows, which is %d; close some, or raise it", limits.Connections))
			})
		})
	}
}

// panicked logs a mistake of the program on a goroutine of a connection.
func (p *Proxy) panicked(e *contain.PanicError) { p.current().panicked(e) }

// turnAway answers a client that is not served.
func (p *Proxy) turnAway(c net.Conn, refused *refuse.Refusal) {
	p.note(KindConnection, "", refused)
	defer context.AfterFunc(p.life.ctx, func() { c.Close() })()
	p.places.turnedAway.Refuse(c, refused.Bytes())
}

// clientConn is a connection of a client that is not known yet.
type clientConn struct {
	*netconn.StallConn
	peer *access.Peer
}

func (p *Proxy) newClientConn(c *netconn.StallConn) *clientConn {
	peer := access.NewPeer(c)
	// Before anything is read, and not when the connection is accepted: to ask the kernel
	// takes time.
	c.BeforeRead(peer.Network(), func() (string, error) { return p.admitPeer(c, peer) })
	c.OnFirstRead(func(first []byte) error { return p.checkHTTP(c, first) })
	return &clientConn{c, peer}
}

// clientContext is the ConnContext of the server that clients connect to.
func clientContext(ctx context.Context, conn net.Conn) context.Context {
	c := conn.(*clientConn)
	return context.WithValue(c.peer.Context(ctx), clientConnKey{}, c.StallConn)
}

// checkHTTP tells a client off that speaks another protocol than HTTP.
func (p *Proxy) checkHTTP(c *netconn.StallConn, first []byte) error {
	answer, refused := checks.Protocol(first[0])
	if refused == nil {
		return nil
	}
	p.note(KindConnection, "", refused)
	_ = c.Conn.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = c.Conn.Write(answer)
	_ = netconn.CloseWrite(c.Conn)
	return io.EOF // which net/http says nothing about
}

// note tells of a client, or a gateway, that is refused before it is known what it asks
// for. peer is its address, "" if it is not to be told.
func (p *Proxy) note(kind, peer string, refused *refuse.Refusal) {
	policy := p.current()
	if policy.Observe != nil {
		policy.Observe(Outcome{Kind: kind, Time: time.Now(), Status: refused.Status, Refused: refused.Code, Reason: refused.Message})
	}
	if !p.strangers.first(refused) {
		return
	}
	event := policy.Log.Warn().Str("kind", kind)
	if peer != "" {
		event.Str("peer", peer)
	}
	event.Str("refused", refused.Code).Str("reason", refused.Message).Msg("connection")
}

// admitPeer counts a connection among those of its user or address, which it returns.
func (p *Proxy) admitPeer(c *netconn.StallConn, peer *access.Peer) (client string, err error) {
	if client = peer.Client(); client == "" {
		return "", nil // a Unix socket, which its owner alone can open
	}
	most := p.current().Limits.ConnectionsPerClient
	giveBack := p.places.clients.Take(client, most)
	if giveBack == nil {
		c.GiveBack() // somebody else may have the place meanwhile
		p.turnAway(c.NetConn(), refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
			"%s has as many connections as limits.connections_per_client allows, which is %d; close some, or raise it", client, most))
		return "", io.EOF // which net/http says nothing about
	}
	c.OnClose(giveBack)
	return client, nil
}

// refuseStranger answers a client whose head there is no room for.
func (p *Proxy) refuseStranger(c net.Conn, answered func()) {
	refused := live.RefuseStranger()
	p.note(KindConnection, "", refused)
	_ = c.SetDeadline(time.Now().Add(refusalTimeout))
	netconn.Answer(c, refused.Bytes(), answered)
}

// headsInTunnels bounds the heads of admitted clients that have not ended, each of most
// bytes.
func (p *Proxy) headsInTunnels(most int) h1server.Heads {
	return h1server.Heads{
		Take: func(conn net.Conn, n int64) bool {
			return p.live.set.TakeHeadOf(conn.(*interceptedConn).admitted.Label, n)
		},
		Refusal: func() []byte {
			refused := live.RefuseHead()
			p.note(KindConnection, "", refused)
			return refused.Bytes()
		},
		// net/http bounds the bytes of its fields, which take more than that in memory.
		Block:    5 * int64(most) / 2,
		Panicked: p.panicked,
	}
}

type clientConnKey struct{}

// admitLabel counts the connection that the exchange's request came on, ctx being
// the request's context, among those of its session label.
func (pl *places) admitLabel(ctx context.Context, x *exchange) *refuse.Refusal {
	most := x.profile.ConnectionsPerLabel
	if ctx.Value(clientConnKey{}).(*netconn.StallConn).Join(&pl.labels, x.label, most) {
		return nil
	}
	return refuse.New(http.StatusServiceUnavailable, "too_many_connections", refuse.LimitReached,
		"clients of the label %q have as many connections as limits.connections_per_label allows, which is %d; close some, or raise it",
		x.label, most)
}
