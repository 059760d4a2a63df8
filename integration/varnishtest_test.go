//go:build linux && garden

package integration

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestVarnishtest runs scripts of varnishtest, which is both client and server in them,
// and speaks no TLS: that is put around what it sends to the proxy, and taken from what
// the proxy sends to it.
func TestVarnishtest(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("varnishtest", "*.vtc"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts, %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".vtc"), func(t *testing.T) {
			t.Parallel()
			back := freeAddress(t)
			cert, key, _ := newCertificate(t, t.TempDir(), "chatgpt.com")
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			upstream, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
			if err != nil {
				t.Fatal(err)
			}
			joinAll(t, upstream, func() (net.Conn, error) { return net.Dial("tcp", back) })
			p := newFixture(t, fixtureConfig{upstream: handlerUpstream{upstream.Addr().String(), []byte(readFile(t, cert))}}).serve(t)
			front, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			joinAll(t, front, func() (net.Conn, error) { return p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1"), nil })
			path, err := filepath.Abs(script)
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, append(baseEnv(t), "TMPDIR="+t.TempDir()), systemProgram(t, "varnishtest"), "-t", "60",
				"-D", "front="+spaced(front.Addr().String()), "-D", "back="+spaced(back), path)
			if r.code != 0 {
				t.Errorf("%s%s", r.stdout, r.stderr)
			}
		})
	}
}

// spaced returns an address as varnishtest takes it.
func spaced(address string) string { return strings.Replace(address, ":", " ", 1) }

// joinAll connects what a listener accepts to what dial returns, until the test ends.
func joinAll(t *testing.T, l net.Listener, dial func() (net.Conn, error)) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // the test has ended
			}
			go func() {
				defer from.Close()
				to, err := dial()
				if err != nil {
					return // nobody listens any more
				}
				defer to.Close()
				done := make(chan struct{}, 2)
				for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
					go func() {
						_, _ = io.Copy(way[1], way[0])
						done <- struct{}{}
					}()
				}
				<-done
			}()
		}
	}()
}
