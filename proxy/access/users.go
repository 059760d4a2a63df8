package access

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// check is [Users.Check] for the owner of a connection.
func (owner *connOwner) check(u Users) error {
	if owner == nil {
		return errors.New("the connection of this request is not known")
	}
	if owner.conn.LocalAddr().Network() == "unix" {
		return nil
	}
	// Not when the connection is accepted, which would hold up all others.
	owner.once.Do(func() { owner.uid, owner.err = peerUID(owner.conn) })
	if owner.err != nil {
		return fmt.Errorf("the user of this process cannot be determined: %w", owner.err)
	}
	if !slices.Contains(u, owner.uid) {
		return fmt.Errorf("this is a process of user %d", owner.uid)
	}
	return nil
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
