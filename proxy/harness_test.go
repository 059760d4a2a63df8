package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
	host   = "chatgpt.com"
	origin = "https://" + host

	// accessToken is what the proxy signs with unless a test says otherwise.
	accessToken = "secret-access-token"
	account     = "account-123"

	h1 = "h1"
	h2 = "h2"

	// patience is how long a test waits for what ought to come at once.
	patience = time.Minute
)

// clientCA returns the authority that vouches for the proxy's leaves.
var clientCA = sync.OnceValue(newAuthority)

// serverCA returns the authority that vouches for the servers behind the proxy.
var serverCA = sync.OnceValue(newAuthority)

func newAuthority() *certs.Authority {
	dir, err := os.MkdirTemp("", "proxytest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	a, err := certs.Open(certs.Config{
		Dir:   dir,
		Hosts: []string{host, "*." + host, "chatgpt-staging.com", "example.org"},
	})
	if err != nil {
		panic(err)
	}
	return a
}

func pool(a *certs.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate())
	return p
}

// serverTLS has a certificate for every host that a client may name.
func serverTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return serverCA().Leaf(hello.ServerName)
	}}
}

// refuseHTTP1 has a server of HTTP/2 refuse the handshake of clients that offer
// HTTP/1.1 alone, as servers do, but not those of Go.
func refuseHTTP1(config *tls.Config) {
	refusing := serverTLS()
	refusing.NextProtos = []string{"none of yours"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, []string{"http/1.1"}) {
			return refusing, nil
		}
		return nil, nil
	}
}

// newBackend starts a server that speaks TLS in the name of any host, and
// HTTP/2 alone if proto is h2.
func newBackend(t testing.TB, proto string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = serverTLS()
	if proto == h2 {
		s.EnableHTTP2 = true
		refuseHTTP1(s.TLS)
	}
	s.Config.ErrorLog = newErrorLog(io.Discard)
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// newRawServer starts a server that does nothing on its own: serve is called
// for every connection, which is closed afterwards.
func newRawServer(t testing.TB, serve func(net.Conn)) string {
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

// newRawTLSServer is newRawServer behind TLS with HTTP/1.1.
func newRawTLSServer(t testing.TB, serve func(*tls.Conn)) string {
	t.Helper()
	config := serverTLS()
	return newRawServer(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		defer secured.Close()
		if secured.Handshake() == nil {
			serve(secured)
		}
	})
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fixedSigner gives every request the same answer.
type fixedSigner struct {
	auth *signer.Authorization
	err  error
}

func (s fixedSigner) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	return s.auth, s.err
}

func bearer() *signer.Authorization {
	return &signer.Authorization{Value: identity.Secret("Bearer " + accessToken), Scheme: signer.SchemeBearer, AccountID: account}
}
