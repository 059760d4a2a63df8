package doctor

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// checkClients finds who may use the proxy. check tries whether the system tells whose
// connection one is.
func (k *checker) checkClients(ctx context.Context, check func(context.Context, access.Users) error) {
	const name = "clients"
	remedy := k.set("set clients.token, or listen on unix:/path")
	who := k.app.Clients
	if who.Issued != nil {
		// What is wrong with the state directory the line of that says.
		if err := who.Issued.Readable(); err != nil && !errors.Is(err, syscall.ENOTDIR) {
			k.fail(name, none, "clients with an issued token are refused: %s", err)
		}
	}
	switch {
	case app.NeedsToken(who):
		k.ok(name, "clients show a token")
	case strings.HasPrefix(k.app.Config.Clients.Listen, "unix:"):
		k.ok(name, "all users that may open the socket")
	case who.Users == nil:
		k.warn(name, remedy, "every user of this machine may sign with this account")
	default:
		if err := check(ctx, who.Users); err != nil {
			k.warn(name, remedy, "serve would refuse all clients: %s", err)
			return
		}
		k.ok(name, "processes of this user; the kernel tells whose a connection is")
	}
}

// checkProfiles notes that there is more to check.
func (k *checker) checkProfiles() {
	if n := k.config.ProfileCount(); n > 0 && k.config.Agent.Profile == "" {
		k.ok("profiles", "%d; these checks are for clients without one, --profile NAME for those of a profile", n)
	}
}

// checkUsers connects to itself, and checks the user of that connection.
func checkUsers(ctx context.Context, users access.Users) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		return err
	}
	defer accepted.Close()
	return users.Check(users.ConnContext(ctx, accepted))
}
