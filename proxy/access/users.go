package access

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// Users are the users of this machine whose processes may connect over TCP. Processes of
// other users, on other machines, and those that the kernel does not know may not.
// Connections over Unix sockets are not checked: the mode of the socket decides about them.
type Users []uint32

// ConnContext is for the field of that name of an [http.Server] whose handlers call Check.
func (u Users) ConnContext(ctx context.Context, c net.Conn) context.Context {
	return NewPeer(c).Context(ctx)
}

// Check returns an error if the user at the other end of a request's connection is not one
// of u. ctx is the context of the request.
func (u Users) Check(ctx context.Context) error { return peerOf(ctx).check(u) }

// CheckConn says what is wrong with the user at the other end of a connection. It asks
// the kernel each time.
func (u Users) CheckConn(c net.Conn) error { return NewPeer(c).check(u) }

// ErrNotAccepted is wrapped by the errors about a connection that no process has
// accepted yet, or none has any more.
var ErrNotAccepted = errors.New("no process has the connection")

// A ForeignUserError is returned for a process of a user who is known, and not among
// those who may connect.
type ForeignUserError struct{ UID uint32 }

// Error implements error.
func (e *ForeignUserError) Error() string { return fmt.Sprintf("this is a process of user %d", e.UID) }
