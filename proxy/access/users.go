package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
)

// Users are the users of this machine whose processes may connect over TCP. A
// process of anybody else, a process on another machine and one that the kernel
// does not know may not. Connections over Unix sockets are not looked at: who
// may open one is said by the socket's mode.
type Users []uint32

// ConnContext is for the field of that name of an [http.Server] whose handlers
// call Check.
func (u Users) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connOwnerKey{}, &connOwner{conn: c})
}

// Check says what is wrong with the user at the other end of the connection
// that a request came on, ctx being the request's context.
func (u Users) Check(ctx context.Context) error { return ownerOf(ctx).check(u) }

// check is [Users.Check] for a connection's owner.
func (owner *connOwner) check(u Users) error {
	if owner == nil {
		return errors.New("nobody has noted whose connection this is")
	}
	if owner.conn.LocalAddr().Network() == "unix" {
		return nil
	}
	// Not when the connection is accepted, for that holds up all others.
	owner.once.Do(func() { owner.uid, owner.err = peerUID(owner.conn) })
	if owner.err != nil {
		return fmt.Errorf("it cannot be told whose process this is: %w", owner.err)
	}
	if !slices.Contains(u, owner.uid) {
		return fmt.Errorf("this is a process of user %d", owner.uid)
	}
	return nil
}

type connOwnerKey struct{}

// ownerOf returns whose the connection is that a request came on, ctx being the
// request's context; nil if nobody has noted it.
func ownerOf(ctx context.Context) *connOwner {
	owner, _ := ctx.Value(connOwnerKey{}).(*connOwner)
	return owner
}

// connOwner is the user at the other end of a connection, once that was asked.
type connOwner struct {
	conn net.Conn
	once sync.Once
	uid  uint32
	err  error
}
