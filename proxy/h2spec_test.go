package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"golang.org/x/sync/errgroup"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// h2specTimeout is how long a server is waited for that does not do what a case
// demands. Those that do are not waited for. Where it was not expected to fail,
// it is tried once more with patience, for the machine may be busy.
const h2specTimeout = 2 * time.Second

// h2specCases returns all cases of h2spec, the strict ones among them, by the
// names that h2spec gives them.
func h2specCases() map[string]*spec.TestCase {
	cases := make(map[string]*spec.TestCase)
	var walk func(*spec.TestGroup)
	walk = func(g *spec.TestGroup) {
		for i, c := range slices.Concat(g.Tests, g.StrictTests) {
			cases[fmt.Sprintf("%s/%d", g.ID(), i+1)] = c
		}
		for _, below := range g.Groups {
			walk(below)
		}
	}
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		walk(g)
	}
	return cases
}

// h2specRun runs all cases against the server at address and returns what
// failed, in spite of all patience where that is not known of net/http.
func h2specRun(t *testing.T, address, known string) map[string]error {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu     sync.Mutex
		failed = make(map[string]error)
		group  errgroup.Group
	)
	group.SetLimit(8)
	for name, c := range h2specCases() {
		group.Go(func() error {
			c := h2specCase{c, config.Config{
				Host: host, Port: number, Path: "/", TLS: true, Insecure: true, Strict: true,
				Timeout: h2specTimeout, MaxHeaderLen: 4000,
			}}
			err := c.run()
			if err != nil && !strings.Contains(known, "`"+name+"`") {
				c.config.Timeout = proxytest.Patience
				err = c.run()
			}
			if err != nil && !errors.Is(err, spec.ErrSkipped) {
				mu.Lock()
				failed[name] = err
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait()
	return failed
}

type h2specCase struct {
	*spec.TestCase
	config config.Config
}

func (c h2specCase) run() error {
	conn, err := spec.Dial(&c.config)
	if err != nil {
		return err
	}
	defer conn.Close()
	return c.Run(&c.config, conn)
}

// TestH2spec runs h2spec against the intercepted side of the proxy and against
// net/http alone, which the proxy is to be no worse than. What fails with both is
// listed in the documentation.
func TestH2spec(t *testing.T) {
	t.Parallel()
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("h", 1000))
	}))
	backend.EnableHTTP2 = true
	backend.Config.ErrorLog = log.New(io.Discard, "", 0)
	backend.StartTLS()
	t.Cleanup(backend.Close)

	doc, err := os.ReadFile(filepath.Join("..", "docs", "h2spec.md"))
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs map[string]error
	var both sync.WaitGroup
	both.Go(func() { theirs = h2specRun(t, backend.Listener.Addr().String(), string(doc)) })
	both.Go(func() { ours = h2specRun(t, interceptedAddress(t, backend), string(doc)) })
	both.Wait()

	for name, err := range ours {
		if theirs[name] == nil {
			t.Errorf("%s fails, but not with net/http: %v", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/h2spec.md leaves out %s, which fails with net/http: %v", name, theirs[name])
		}
	}
	t.Logf("%d cases; %d fail with net/http, %d through the proxy", len(h2specCases()), len(theirs), len(ours))
}

// interceptedAddress returns an address where the intercepted side of a proxy is
// found without CONNECT, for programs that know of no proxies.
func interceptedAddress(t *testing.T, backend *httptest.Server) string {
	t.Helper()
	var p *testProxy
	ready := make(chan struct{})
	var address string
	address = proxytest.NewRawServer(t, func(client net.Conn) {
		<-ready
		server, err := net.Dial("tcp", p.addr)
		if err != nil {
			return
		}
		defer server.Close()
		if _, err := fmt.Fprintf(server, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", address); err != nil {
			return
		}
		if _, err := io.ReadFull(server, make([]byte, len(connectEstablished))); err != nil {
			return
		}
		up := make(chan struct{})
		go func() {
			defer close(up)
			_, _ = io.Copy(server, client)
			_ = server.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(client, server)
		client.Close()
		<-up
	})
	p = startProxy(t, "", func(c *Config) {
		c.Intercept = patterns(t, address)
		c.Leaves = oneLeaf{&backend.TLS.Certificates[0]}
		c.Upstream.RootCAs = func() *x509.CertPool { return backend.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs }
		c.Upstream.ConnectTo[address] = backend.Listener.Addr().String()
	})
	close(ready)
	return address
}

// oneLeaf has one certificate for every host.
type oneLeaf struct{ leaf *tls.Certificate }

func (l oneLeaf) Leaf(string) (*tls.Certificate, error) { return l.leaf, nil }
