package doctor

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
)

const (
	// localTimeout bounds all waits for a program on this machine, which may be busy.
	localTimeout = checkTimeout
	// adminTimeout is the part of that in which the admin listener is to answer.
	adminTimeout = localTimeout * 2 / 3
)

// maxAnswer bounds what is read from a program that need not be agentproxy, in bytes.
const maxAnswer = 64 << 10

// checkServe finds what listens where agentproxy serve would.
func (k *checker) checkServe(ctx context.Context) {
	const check = "serve"
	listen := k.config.Clients.Listen
	network, address, err := config.ParseAddress(listen)
	if err != nil {
		return // it was checked when the configuration was loaded
	}
	if _, port, err := net.SplitHostPort(address); network == "tcp" && err == nil && port == "0" {
		if status, err := k.askAdmin(ctx); err == nil {
			k.tellStatus(status)
			return
		}
		k.ok(check, "listen is %s, which leaves the port to the system: no shell can be led there", listen)
		return
	}
	found := meet(ctx, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, config.Dialable(network, address))
	}, k.askAdmin)
	switch {
	case found.refused != nil:
		k.notServing(listen, found.refused)
	case found.asked == nil:
		k.serving = true
		k.tellStatus(found.status)
	default:
		k.tellStranger(found)
	}
}

// listener is what was found out about a program that listens.
type listener struct {
	refused error // it accepts no connection
	asked   error // why its admin listener has not told its status
	status  admin.Status

	// What recognize returns, if its status is not known.
	isProxy, silent bool
	owner           error
}

// meet finds out about a program that is to accept connections of dial, and whose admin listener
// ask asks. It takes localTimeout at most.
func meet(ctx context.Context, dial func(context.Context) (net.Conn, error), ask func(context.Context) (admin.Status, error)) (found listener) {
	ctx, cancel := context.WithTimeout(ctx, localTimeout)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return listener{refused: err}
	}
	conn.Close()
	asking, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if found.status, found.asked = ask(asking); found.asked == nil {
		return found
	}
	if conn, err = dial(ctx); err != nil { // the former may be too old by now to be answered
		return listener{refused: err}
	}
	defer conn.Close()
	found.isProxy, found.silent, found.owner = recognize(ctx, conn)
	return found
}

// errOtherCA says that a proxy has another state directory than this configuration.
var errOtherCA = errors.New("it has another CA, so another state_dir")

// askAdmin returns the status of the proxy of this configuration.
func (k *checker) askAdmin(ctx context.Context) (admin.Status, error) {
	client, err := admin.NewClient(k.config)
	if err != nil {
		return admin.Status{}, err
	}
	status, err := client.Status(ctx)
	if err != nil {
		return status, err
	}
	ca, err := certs.Load(k.app.CAConfig())
	if err != nil || !hasCA(status, ca.Certificate()) {
		return status, errOtherCA
	}
	return status, nil
}

// hasCA reports whether the proxy of a status has the CA. Earlier versions say only when
// theirs expires.
func hasCA(status admin.Status, ca *x509.Certificate) bool {
	if status.CAFingerprint == "" {
		return status.CAExpires.Equal(ca.NotAfter)
	}
	return status.CAFingerprint == certs.Fingerprint(ca)
}

// tellStatus tells of a proxy that runs with this configuration.
func (k *checker) tellStatus(s admin.Status) {
	const check = "serve"
	where := fmt.Sprintf("%s on %s", cli.Printable(s.Version), k.config.Clients.Listen)
	switch {
	case !s.Ready && len(s.Agents) > 0:
		k.fail(check, do(k.own("check", "--ready")), "version %s cannot sign: %s", where, s.Agents[0].Message)
	case !s.Ready:
		k.fail(check, do(k.own("check", "--ready")), "version %s cannot sign", where)
	case s.Version != cli.Version():
		k.warn(check, remedy{"restart it; to find it", whoListens(k.port())}, "version %s runs, and this is %s", where, cli.Version())
	default:
		k.ok(check, "version %s runs, since %s, and can sign", where, s.Started.UTC().Format(time.RFC3339))
	}
	for _, agent := range s.Agents {
		if agent.TaskOverdue != "" && agent.Profile == k.options.Profile {
			k.warn(check, do(k.own("top")), "its task is due to be replaced, and could not be: %s", agent.TaskOverdue)
		}
	}
}

// notServing tells that nobody answers at listen, for the reason err.
func (k *checker) notServing(listen string, err error) {
	const check = "serve"
	here, _ := k.leads()
	if cannot := k.cannotListen(); cannot != nil {
		k.fail(check, do(k.serveElsewhere()), "agentproxy serve does not run, and could not start: %s", cannot)
	} else if len(here) > 0 {
		k.fail(check, do(k.own("serve")), "nobody listens on %s, where %s leads: %s", listen, here[0].Name, cli.SyscallError(err))
	} else {
		k.ok(check, "agentproxy serve does not run; agentproxy run does not need it")
	}
}

// cannotListen returns why agentproxy serve could not listen. It opens the ports for a moment.
func (k *checker) cannotListen() error {
	for _, address := range []string{k.config.Clients.Listen, k.config.Admin.Listen, k.config.Gateways.Listen} {
		if address == "" {
			continue
		}
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			if err := safefile.MayWriteIn(filepath.Dir(path)); err != nil {
				return fmt.Errorf("listen on %s: %w", path, safefile.Cause(err))
			}
			continue
		}
		l, err := app.Listen(address)
		if err != nil {
			return err
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// tellStranger tells which program listens that is not known to be the proxy of this
// configuration.
func (k *checker) tellStranger(found listener) {
	const check = "serve"
	listen, asked, isProxy := k.config.Clients.Listen, found.asked, found.isProxy
	other := remedy{"choose other addresses", k.serveElsewhere()}
	foreign, isForeign := errors.AsType[*access.ForeignUserError](found.owner)
	refused, isRefused := errors.AsType[*admin.RefusedError](asked)
	switch {
	case found.silent && isForeign:
		k.fail(check, do(whoListens(k.port())), "a program of user %d listens on %s, and has not answered within %s", foreign.UID, listen, localTimeout)
	case found.silent:
		k.fail(check, do(whoListens(k.port())), "what listens on %s has not answered within %s", listen, localTimeout)
	case !isProxy && isForeign:
		k.fail(check, do(whoListens(k.port())), "a program of user %d, which is not agentproxy, listens on %s", foreign.UID, listen)
	case !isProxy:
		k.fail(check, do(whoListens(k.port())), "another program, which is not agentproxy, listens on %s", listen)
	case isForeign:
		k.fail(check, other, "an agentproxy of user %d listens on %s, and serve of this configuration cannot", foreign.UID, listen)
	case k.config.Admin.Listen == "":
		k.serving = true
		k.ok(check, "an agentproxy listens on %s; admin is off, so that it cannot be asked more", listen)
	case errors.Is(asked, errOtherCA):
		k.fail(check, other, "an agentproxy listens on %s, and is not of this configuration: %s", listen, asked)
	case isRefused && refused.StatusCode == http.StatusUnauthorized:
		k.warn(check, k.set("use its admin_token"), "an agentproxy listens on %s, and does not take this configuration's admin_token", listen)
	default:
		k.warn(check, remedy{"restart it with this configuration; to find it", whoListens(k.port())}, "an agentproxy listens on %s, perhaps with another configuration: %s", listen, asked)
	}
}

// recognize reports whether the program that has accepted conn is an agentproxy, or that it is
// silent, which says neither. owner is an [*access.ForeignUserError] if it is another user's.
func recognize(ctx context.Context, conn net.Conn) (isProxy, silent bool, owner error) {
	// While the kernel still knows whose it is.
	owner = admin.CheckServer(ctx, conn, access.Users{uint32(os.Geteuid())})
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	// A request that every proxy of this kind refuses, and says who it is.
	_, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
	if err == nil {
		var response *http.Response
		if response, err = http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			defer response.Body.Close()
			var answer struct{ Error struct{ Code string } }
			err = json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer)
			isProxy = err == nil && answer.Error.Code == "not_a_proxy_request"
		}
	}
	return isProxy, errors.Is(err, os.ErrDeadlineExceeded), owner
}

// serveElsewhere returns the command that runs agentproxy serve on other addresses.
func (k *checker) serveElsewhere() string {
	return "AGENTPROXY_LISTEN=127.0.0.1:8081 AGENTPROXY_ADMIN=127.0.0.1:9081 " + k.own("serve")
}

// port returns the port of the listener, "" for a Unix socket.
func (k *checker) port() string {
	_, port, _ := net.SplitHostPort(k.config.Clients.Listen)
	return port
}
