//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// startMitmproxy starts mitmdump, which streams bodies (by default it holds them
// in memory), stores nothing and prints nothing.
func startMitmproxy(ctx context.Context, b *bench, dir string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addon := filepath.Join(dir, "addon.py")
	if err := os.WriteFile(addon, fmt.Appendf(nil, mitmproxyAddon, rivalToken), 0o644); err != nil {
		return nil, err
	}
	e := endpoint{
		program: mitmproxy, address: address,
		connect: net.JoinHostPort("localhost", b.upstream.port), host: "localhost",
	}
	i, err := launch(ctx, dir, e, cleanEnviron(dir), "mitmdump", "-q", "--listen-host", host, "--listen-port", port,
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+b.ca.certFile, "-s", addon)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "mitmproxy-ca-cert.pem"))
	if err != nil {
		i.stop()
		return nil, err
	}
	i.roots = roots(ca)
	return i, nil
}

const mitmproxyAddon = `
def requestheaders(flow):
    flow.request.stream = True
    flow.request.headers["Authorization"] = "Bearer %s"

def responseheaders(flow):
    flow.response.stream = True
`
