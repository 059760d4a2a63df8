package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// listenAddress splits "host:port" or "unix:/path".
func listenAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return "", "", fmt.Errorf("%q: a socket is written as unix:/absolute/path", s)
		}
		return "unix", path, nil
	}
	if _, port, err := net.SplitHostPort(s); err != nil {
		return "", "", fmt.Errorf("%q is not host:port, as in 127.0.0.1:8080, nor unix:/path", s)
	} else if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return "", "", fmt.Errorf("%q: %q is not a port from 0 to 65535", s, port)
	}
	return "tcp", s, nil
}

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// listen opens "host:port" or "unix:/path".
func listen(address string) (net.Listener, error) {
	network, addr, err := listenAddress(address)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		return listenUnix(addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError(addr, err, "choose another address in the configuration (or with AGENTPROXY_LISTEN and AGENTPROXY_ADMIN)")
	}
	return l, nil
}

// listenError says why address cannot be listened on, and what to do.
func listenError(address string, err error, remedy string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: another program uses this port; stop it, or %s", address, remedy)
	}
	return fmt.Errorf("listen on %s: %w; %s", address, cli.SyscallError(err), remedy)
}

// listenUnix opens a socket that only its owner can connect to. A socket that
// nobody listens on any more is replaced.
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
			return nil, fmt.Errorf("listen on %s: the stale socket there cannot be removed: %w; choose another path", path, cli.Cause(err))
		}
	}
	l, err := bindPrivate(path)
	if err != nil {
		return nil, listenError(path, err, "choose a path in a directory that can be written")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: the socket cannot be made private: %w; choose a path in another directory", path, cli.Cause(err))
	}
	return l, nil
}

// bindPrivate has the socket's file be private from the moment that it is there.
func bindPrivate(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(makePrivate) }}
	return config.Listen(context.Background(), "unix", path)
}

func listenName(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}
