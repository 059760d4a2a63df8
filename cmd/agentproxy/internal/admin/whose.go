package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// acceptInterval is how often it is looked whether the proxy has accepted a connection:
// until then the kernel does not say whose it is.
const acceptInterval = 10 * time.Millisecond

// mayHaveToken returns the users who may be sent the admin token: this program's own,
// root, and the one whose state the proxy keeps.
func mayHaveToken(stateDir string) access.Users {
	users := access.Users{uint32(os.Geteuid()), 0}
	info, err := os.Stat(stateDir)
	if err != nil {
		return users
	}
	if uid, ok := safefile.OwnerOf(info); ok && !slices.Contains(users, uid) {
		users = append(users, uid)
	}
	return users
}

// CheckServer returns an error unless a process of one of users has accepted c, a
// connection over TCP within this machine. It cannot tell about servers on other
// machines, and about none but on Linux.
func CheckServer(ctx context.Context, c net.Conn, users access.Users) error {
	remote, _ := c.RemoteAddr().(*net.TCPAddr)
	local, _ := c.LocalAddr().(*net.TCPAddr)
	if remote == nil || local == nil || !remote.IP.IsLoopback() && !remote.IP.Equal(local.IP) {
		return nil
	}
	tick := time.NewTicker(acceptInterval)
	defer tick.Stop()
	for {
		err := users.CheckConn(c)
		switch {
		case err == nil || errors.Is(err, errors.ErrUnsupported):
			return nil
		case !errors.Is(err, access.ErrNotAccepted):
			return fmt.Errorf("%w, and the token is sent to a proxy of users %d only; find out who listens there, or have admin be unix:/path", err, users)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the connection is not accepted: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}
