//go:build linux

package main

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"

	library "github.com/elazarl/goproxy"
)

// startGoproxy starts a bare goproxy, which intercepts with its defaults.
func startGoproxy(ctx context.Context, b *bench, dir string) (*instance, error) {
	e := endpoint{
		program: goproxy, roots: roots(library.CA_CERT),
		connect: net.JoinHostPort("localhost", b.upstream.port), host: "localhost",
	}
	return b.launchHelper(ctx, dir, e, "./integration/bench/goproxymitm", "-ca", b.ca.certFile, "-token", rivalToken)
}

func goproxyVersion(ctx context.Context, _ *bench) string {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "github.com/elazarl/goproxy").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// startCopying starts a proxy that tunnels as agentproxy would without splice.
func startCopying(ctx context.Context, b *bench, dir string) (*instance, error) {
	return b.launchHelper(ctx, dir, endpoint{program: copying}, "./integration/bench/copyproxy")
}

// launchHelper builds a command of the bench's own and starts it with a free
// address.
func (b *bench) launchHelper(ctx context.Context, dir string, e endpoint, pkg string, args ...string) (*instance, error) {
	binary := filepath.Join(dir, filepath.Base(pkg))
	if err := b.build(ctx, binary, pkg); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	e.address = address
	return launch(ctx, dir, e, cleanEnviron(dir), append([]string{binary, "-listen", address}, args...)...)
}
