package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Peer is whoever is at the other end of a connection. The kernel is asked once whose
// process it is, when that has to be known first.
type Peer struct {
	conn net.Conn
	once sync.Once
	uid  uint32
	err  error
}

// NewPeer returns who is at the other end of conn.
func NewPeer(conn net.Conn) *Peer { return &Peer{conn: conn} }

type peerKey struct{}

// Context returns the context of the requests on the connection.
func (p *Peer) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// peerOf returns who sent a request, ctx being its context; nil if nobody has noted it.
func peerOf(ctx context.Context) *Peer {
	p, _ := ctx.Value(peerKey{}).(*Peer)
	return p
}

// ClientOf names the client that sent a request, ctx being its context, as [Peer.Client]
// does. It is "" if nobody has noted whose connection it is.
func ClientOf(ctx context.Context) string {
	if p := peerOf(ctx); p != nil {
		return p.Client()
	}
	return ""
}

// Client names the client: on this machine by its user, as "user 1000", else by its
// address, for IPv6 by the network of 64 bits. It is "" for a Unix socket.
func (p *Peer) Client() string {
	addr := plainAddr(p.conn.RemoteAddr())
	if addr.IsLoopback() || addr.IsValid() && addr == plainAddr(p.conn.LocalAddr()) {
		if uid, err := p.user(); err == nil {
			return fmt.Sprintf("user %d", uid)
		}
	}
	return p.Network()
}

// Network is [Peer.Client] without asking whose process it is.
func (p *Peer) Network() string {
	addr := plainAddr(p.conn.RemoteAddr())
	switch {
	case !addr.IsValid():
		return ""
	case addr.Is6():
		// One client has as many addresses as it likes there.
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}

// plainAddr returns the IP address in a, without zone. It is not valid if a has none.
func plainAddr(a net.Addr) netip.Addr {
	addr, _ := netip.ParseAddrPort(a.String())
	return addr.Addr().Unmap().WithZone("")
}

// endTurn ends the turn by which the request of ctx was read, if there is one.
func endTurn(ctx context.Context) {
	if p := peerOf(ctx); p != nil {
		if c, ok := p.conn.(interface{ EndTurn() }); ok {
			c.EndTurn()
		}
	}
}

// check is [Users.Check] for one peer.
func (p *Peer) check(u Users) error {
	if p == nil {
		return errors.New("nobody has noted whose connection this is")
	}
	if p.conn.LocalAddr().Network() == "unix" {
		return nil
	}
	uid, err := p.user()
	if err != nil {
		return fmt.Errorf("it cannot be told whose process this is: %w", err)
	}
	if !slices.Contains(u, uid) {
		return &ForeignUserError{uid}
	}
	return nil
}

// errOverflow is about a user of whom the kernel says no more than that there is no
// number for it in this user namespace (user_namespaces(7)): it may be anybody.
var errOverflow = errors.New("the kernel has no number for its user in this user namespace")

// user returns the user whose process it is.
func (p *Peer) user() (uint32, error) {
	// Not when the connection is accepted, for that holds up all others.
	p.once.Do(func() {
		if p.uid, p.err = peerUID(p.conn); p.err == nil && isOverflow(p.uid) {
			p.err = errOverflow
		}
	})
	return p.uid, p.err
}
