package doctor

import (
	"context"
	"net"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// checkClients says who may use the proxy, and whether that can be told: tell
// tries it.
func (k *checker) checkClients(ctx context.Context, tell func(context.Context, access.Users) error) {
	const check, remedy = "clients", "set clients.token, or listen on unix:/path"
	who := k.app.Clients
	switch {
	case app.NeedsToken(who):
		k.ok(check, "they show a token")
	case strings.HasPrefix(k.app.Config.Clients.Listen, "unix:"):
		k.ok(check, "whoever may open the socket")
	case who.Users == nil:
		k.warn(check, remedy, "every user of this machine may sign with this account")
	default:
		if err := tell(ctx, who.Users); err != nil {
			k.warn(check, remedy, "serve would refuse them all: %s", err)
			return
		}
		k.ok(check, "processes of this user, by what the kernel says of a connection")
	}
}

// checkProfiles says that there is more to check.
func (k *checker) checkProfiles() {
	if n := k.app.Config.ProfileCount(); n > 0 && k.app.Config.Agent.Profile == "" {
		k.ok("profiles", "%d; this is about clients that have none, and --profile NAME about those of one", n)
	}
}

// checkUsers connects to itself, and checks whose connection that is.
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
