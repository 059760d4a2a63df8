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

// Users are the users of this machine whose processes may connect over TCP. Processes of
// other users, on other machines, and those that the kernel does not know may not.
// Connections over Unix sockets are not checked: the mode of the socket decides about them.
type Users []uint32

// ConnContext is for the field of that name of an [http.Server] whose handlers call Check.
func (u Users) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connOwnerKey{}, &connOwner{conn: c})
}

// Check returns an error if the user at the other end of a request's connection is not one
// of u. ctx is the context of the request.
func (u Users) Check(ctx context.Context) error { return ownerOf(ctx).check(u) }

// CheckConn says what is wrong with the user at the other end of a connection. It asks
// the kernel each time.
func (u Users) CheckConn(c net.Conn) error { return (&connOwner{conn: c}).check(u) }

// ErrNotAccepted is wrapped by the errors about a connection that no process has
// accepted yet, or none has any more.
var ErrNotAccepted = errors.New("no process has the connection")

// A ForeignUserError is returned for a process of a user who is known, and not among
// those who may connect.
type ForeignUserError struct{ UID uint32 }

// Error implements error.
func (e *ForeignUserError) Error() string { return fmt.Sprintf("this is a process of user %d", e.UID) }

// check is [Users.Check] for the owner of a connection.
func (owner *connOwner) check(u Users) error {
	if owner == nil {
		return errors.New("the connection of this request is not known")
	}
	if owner.conn.LocalAddr().Network() == "unix" {
		return nil
	}
	uid, err := owner.user()
	if err != nil {
		return fmt.Errorf("the user of this process cannot be determined: %w", err)
	}
	if !slices.Contains(u, uid) {
		return &ForeignUserError{uid}
	}
	return nil
}

// user returns the user at the other end.
func (owner *connOwner) user() (uint32, error) {
	// Not when the connection is accepted, for that holds up all others.
	owner.once.Do(func() {
		if owner.uid, owner.err = peerUID(owner.conn); owner.err == nil && isOverflow(owner.uid) {
			owner.err = errOverflow
		}
	})
	return owner.uid, owner.err
}

// errOverflow is about a user of whom the kernel says no more than that there is no
// number for it in this user namespace (user_namespaces(7)): it may be anybody.
var errOverflow = errors.New("the kernel has no number for its user in this user namespace")

// client is [ClientOf] for a connection's owner.
func (owner *connOwner) client() string {
	remote, err := netip.ParseAddrPort(owner.conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	addr := remote.Addr().Unmap().WithZone("")
	local, _ := netip.ParseAddrPort(owner.conn.LocalAddr().String())
	if addr.IsLoopback() || addr == local.Addr().Unmap().WithZone("") {
		if uid, err := owner.user(); err == nil {
			return fmt.Sprintf("user %d", uid)
		}
	}
	if addr.Is6() {
		// One client has as many addresses as it likes there.
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}

// ClientOf names who is at the other end of a connection that a request came on, ctx
// being the request's context: on this machine the user, as "user 1000", else the
// address, for IPv6 the network of 64 bits. It is "" for a Unix socket.
func ClientOf(ctx context.Context) string {
	if owner := ownerOf(ctx); owner != nil {
		return owner.client()
	}
	return ""
}

type connOwnerKey struct{}

// ownerOf returns the owner of the connection that a request came on, nil if ConnContext
// was not called for it. ctx is the context of the request.
func ownerOf(ctx context.Context) *connOwner {
	owner, _ := ctx.Value(connOwnerKey{}).(*connOwner)
	return owner
}

// connOwner is the user at the other end of a connection, once it was looked up.
type connOwner struct {
	conn net.Conn
	once sync.Once
	uid  uint32
	err  error
}
