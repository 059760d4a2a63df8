package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/hosts"
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

// The two authorities: clientCA vouches for the proxy's leaves, serverCA for
// the servers behind it.
var clientCA, serverCA *certs.Authority

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "proxy-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	open := func(name string) *certs.Authority {
		a, err := certs.Open(certs.Config{
			Dir:   filepath.Join(dir, name),
			Hosts: []string{host, "*." + host, "chatgpt-staging.com", "example.org"},
		})
		if err != nil {
			panic(err)
		}
		return a
	}
	clientCA, serverCA = open("client"), open("server")
	return m.Run()
}

func pool(a *certs.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate())
	return p
}

// serverTLS has a certificate for every host that a client may name.
func serverTLS() *tls.Config {
	return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return serverCA.Leaf(hello.ServerName)
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

// testProxy is a proxy on the loopback interface.
type testProxy struct {
	*Proxy
	addr string
	log  *lockedBuffer
}

func patterns(t testing.TB, list ...string) hosts.Patterns {
	t.Helper()
	var ps hosts.Patterns
	for _, s := range list {
		p, err := hosts.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

// wideScope allows whatever is asked of any host that tests name.
func wideScope(t testing.TB) *signer.Scope {
	t.Helper()
	return scopeOf(t, signer.ScopeEntry{Word: signer.WordAll},
		signer.ScopeEntry{Match: signer.Match{Host: "*." + host}}, signer.ScopeEntry{Match: signer.Match{Host: "chatgpt-staging.com"}})
}

func scopeOf(t testing.TB, allow ...signer.ScopeEntry) *signer.Scope {
	t.Helper()
	s, _, err := signer.NewScope(signer.ScopeConfig{BaseURL: origin + "/backend-api", Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// startProxy starts a proxy that reaches all intercepted hosts at backend.
func startProxy(t testing.TB, backend string, edit ...func(*Config)) *testProxy {
	t.Helper()
	p := newProxy(t, backend, edit...)
	p.serve(t)
	return p
}

// newProxy is startProxy without serving yet.
func newProxy(t testing.TB, backend string, edit ...func(*Config)) *testProxy {
	t.Helper()
	log := new(lockedBuffer)
	config := Config{
		Intercept: patterns(t, host+":443", "*."+host+":443", "chatgpt-staging.com:443"),
		// What tests connect to has whatever port was free.
		OtherHosts: OtherHosts{Ports: hosts.PortRanges{{First: 1, Last: 65535}}},
		Signer:     fixedSigner{auth: bearer()},
		Scope:      wideScope(t),
		Leaves:     clientCA,
		Upstream: UpstreamConfig{
			ConnectTo: map[string]string{},
			RootCAs:   pool(serverCA),
		},
		Log: zerolog.New(log).Level(zerolog.TraceLevel),
	}
	if backend != "" {
		for _, h := range []string{host, "*." + host, "chatgpt-staging.com"} {
			config.Upstream.ConnectTo[h+":443"] = backend
		}
	}
	for _, e := range edit {
		e(&config)
	}
	return &testProxy{Proxy: New(config), log: log}
}

func (p *testProxy) serve(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		p.cutNow()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// cutNow stops the proxy without waiting for anything that runs.
func (p *testProxy) cutNow() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.Shutdown(ctx)
}

// logged waits until the log has every one of words: a line is written after
// the client has its answer.
func (p *testProxy) logged(t testing.TB, words ...string) {
	t.Helper()
	eventually(t, func() error {
		log := p.log.String()
		for _, word := range words {
			if !strings.Contains(log, word) {
				return fmt.Errorf("no %s in the log:\n%s", word, log)
			}
		}
		return nil
	})
}

// client returns a client that goes through the proxy and speaks proto alone.
func (p *testProxy) client(t testing.TB, proto string) *http.Client {
	t.Helper()
	return p.clientAs(t, proto, nil)
}

func (p *testProxy) clientAs(t testing.TB, proto string, user *url.Userinfo) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(proto == h1)
	protocols.SetHTTP2(proto == h2)
	transport := &http.Transport{
		Proxy:                 http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr, User: user}),
		TLSClientConfig:       &tls.Config{RootCAs: pool(clientCA)},
		Protocols:             protocols,
		DisableCompression:    true,
		ExpectContinueTimeout: patience,
		MaxIdleConnsPerHost:   100,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// dial connects to the proxy.
func (p *testProxy) dial(t testing.TB) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	return newRawConn(t, c)
}

// connect opens a tunnel to authority.
func (p *testProxy) connect(t testing.TB, authority string) *rawConn {
	t.Helper()
	c := p.dial(t)
	c.send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", authority)
	if res := c.response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT %s: %s", authority, res.Status)
	}
	return c
}

// intercepted opens a tunnel to host and speaks TLS in it.
func (p *testProxy) intercepted(t testing.TB, protos ...string) *rawConn {
	t.Helper()
	return secure(t, p.connect(t, host+":443"), &tls.Config{RootCAs: pool(clientCA), ServerName: host, NextProtos: protos})
}

func secure(t testing.TB, c *rawConn, config *tls.Config) *rawConn {
	t.Helper()
	secured := tls.Client(c.Conn, config)
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return newRawConn(t, secured)
}

// rawConn is a client's connection on which a test writes bytes itself.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

func newRawConn(t testing.TB, c net.Conn) *rawConn {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawConn{c, bufio.NewReader(c)}
}

func (c *rawConn) send(t testing.TB, format string, args ...any) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience)) // for each step, however many there are
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		t.Fatal(err)
	}
}

// response reads an answer's header; the body is left to be read.
func (c *rawConn) response(t testing.TB, method string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %s: %v", method, err)
	}
	return res
}

func (c *rawConn) expect(t testing.TB, want string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func (c *rawConn) expectEOF(t testing.TB) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}
