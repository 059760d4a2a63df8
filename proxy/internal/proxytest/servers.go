// Package proxytest has what the tests of the proxy's packages share: authorities
// and servers, connections on which a test writes bytes itself, and ways to wait
// that do not depend on the speed of the machine.
package proxytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/signer"
)

const (
	// Host is the intercepted host of tests, and Origin its origin.
	Host   = "chatgpt.com"
	Origin = "https://" + Host

	// AccessToken is what the proxy signs with unless a test says otherwise.
	AccessToken = "secret-access-token"
	// Account is the workspace that it is for.
	Account = "account-123"

	// H1 and H2 name the versions of HTTP that tests run over.
	H1 = "h1"
	H2 = "h2"

	// Patience is how long a test waits for what ought to come at once.
	Patience = 3 * time.Minute
)

// ClientCA returns the authority that vouches for the proxy's leaves.
var ClientCA = sync.OnceValue(newAuthority)

// ServerCA returns the authority that vouches for the servers behind the proxy.
var ServerCA = sync.OnceValue(newAuthority)

func newAuthority() *certs.Authority {
	dir, err := os.MkdirTemp("", "proxytest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	a, err := certs.Open(certs.Config{
		Dir:   dir,
		Hosts: []string{Host, "*." + Host, "chatgpt-staging.com", "example.org"},
	})
	if err != nil {
		panic(err)
	}
	return a
}

// Pool returns the certificate pool of a alone.
func Pool(a *certs.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate())
	return p
}

// ServerTLS returns a configuration with a certificate for every host that a client
// may name.
func ServerTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return ServerCA().Leaf(hello.ServerName)
	}}
}

// RefuseHTTP1 makes a server of HTTP/2 refuse the handshake of clients that offer
// HTTP/1.1 alone, as other servers than those of Go do.
func RefuseHTTP1(config *tls.Config) {
	refusing := ServerTLS()
	refusing.NextProtos = []string{"none of yours"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, []string{"http/1.1"}) {
			return refusing, nil
		}
		return nil, nil
	}
}

// NewBackend starts a server that speaks TLS in the name of any host, and HTTP/2
// alone if proto is [H2].
func NewBackend(t testing.TB, proto string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = ServerTLS()
	if proto == H2 {
		s.EnableHTTP2 = true
		RefuseHTTP1(s.TLS)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// NewRawServer starts a server that calls serve for every connection and closes it
// afterwards. It returns the address.
func NewRawServer(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		conns.Wait()
	})
	return l.Addr().String()
}

// NewRawTLSServer is [NewRawServer] behind TLS with HTTP/1.1.
func NewRawTLSServer(t testing.TB, serve func(*tls.Conn)) string {
	t.Helper()
	config := ServerTLS()
	return NewRawServer(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		defer secured.Close()
		if secured.Handshake() == nil {
			serve(secured)
		}
	})
}

// Log collects what is written to it. It may be used by several goroutines.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (b *Log) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *Log) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// FixedSigner is a signer that gives every request the same answer.
type FixedSigner struct {
	Auth *signer.Authorization
	Err  error
}

// Sign implements [signer.Signer].
func (s FixedSigner) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	return s.Auth, s.Err
}

// Bearer returns the authorization that tests sign with unless they say otherwise.
func Bearer() *signer.Authorization {
	return &signer.Authorization{Value: identity.Secret("Bearer " + AccessToken), Scheme: signer.SchemeBearer, AccountID: Account}
}

// OwnAddresses returns the IPv4 addresses of this machine.
func OwnAddresses(t testing.TB) (list []string) {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if addr := netip.MustParsePrefix(a.String()).Addr(); addr.Is4() {
			list = append(list, addr.String())
		}
	}
	return list
}
