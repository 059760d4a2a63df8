package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Listen opens "host:port" or "unix:/path".
func Listen(address string) (net.Listener, error) {
	network, addr, err := config.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		return listenUnix(addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, ListenError(addr, err, "choose another address in the configuration (or with AGENTPROXY_LISTEN and AGENTPROXY_ADMIN)")
	}
	return l, nil
}

// ListenError returns err as the reason why address cannot be listened on, with a remedy.
func ListenError(address string, err error, remedy string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program uses this port; stop it, or %s", address, remedy)
	}
	return fmt.Errorf("listen on %s: %w; %s", address, cli.SyscallError(err), remedy)
}

// listenUnix opens a socket that only its owner can connect to. It replaces a socket that
// nobody listens on.
func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on %s: a file of another kind is in the way; remove it, or choose another path", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return nil, fmt.Errorf("listen on %s: another program listens there; stop it, or choose another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen on %s: the stale socket there cannot be removed: %w; choose another path", path, safefile.Cause(err))
		}
	}
	l, err := bindPrivate(path)
	if err != nil {
		return nil, ListenError(path, err, "choose a path in a directory that can be written")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: the socket cannot be made private: %w; choose a path in another directory", path, safefile.Cause(err))
	}
	return l, nil
}

// bindPrivate binds a socket whose file is private from the beginning.
func bindPrivate(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(makePrivate) }}
	return config.Listen(context.Background(), "unix", path)
}

// ListenName returns the address of l in the form that [Listen] takes.
func ListenName(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}
