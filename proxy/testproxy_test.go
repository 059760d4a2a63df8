package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// testProxy is a proxy on the loopback interface.
type testProxy struct {
	*Proxy
	addr string
	log  *proxytest.Log
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
		signer.ScopeEntry{Match: signer.Match{Host: "*." + proxytest.Host}}, signer.ScopeEntry{Match: signer.Match{Host: "chatgpt-staging.com"}})
}

func scopeOf(t testing.TB, allow ...signer.ScopeEntry) *signer.Scope {
	t.Helper()
	s, _, err := signer.NewScope(signer.ScopeConfig{BaseURL: proxytest.Origin + "/backend-api", Allow: allow})
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
	log := new(proxytest.Log)
	config := Config{
		Intercept: patterns(t, proxytest.Host+":443", "*."+proxytest.Host+":443", "chatgpt-staging.com:443"),
		// What tests connect to has whatever port was free.
		OtherHosts: OtherHosts{Ports: hosts.PortRanges{{First: 1, Last: 65535}}},
		Signer:     proxytest.FixedSigner{Auth: proxytest.Bearer()},
		Scope:      wideScope(t),
		Leaves:     proxytest.ClientCA(),
		Limits:     access.Limits{HandshakeTimeout: proxytest.Patience},
		Upstream: upstream.Config{
			ConnectTo:   map[string]string{},
			RootCAs:     func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
			DialTimeout: proxytest.Patience,
		},
		Log: zerolog.New(log).Level(zerolog.TraceLevel),
	}
	if backend != "" {
		for _, h := range []string{proxytest.Host, "*." + proxytest.Host, "chatgpt-staging.com"} {
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
	proxytest.Eventually(t, func() error {
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
	protocols.SetHTTP1(proto == proxytest.H1)
	protocols.SetHTTP2(proto == proxytest.H2)
	transport := &http.Transport{
		Proxy:                 http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr, User: user}),
		TLSClientConfig:       &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA())},
		Protocols:             protocols,
		DisableCompression:    true,
		ExpectContinueTimeout: proxytest.Patience,
		MaxIdleConnsPerHost:   100,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: proxytest.Patience}
}

// dial connects to the proxy.
func (p *testProxy) dial(t testing.TB) *proxytest.RawConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	return proxytest.NewRawConn(t, c)
}

// next returns a connection for another request after res came on c: that one, unless it
// is closed, as Go 1.26.9 and later do after each CONNECT.
func (p *testProxy) next(t testing.TB, c *proxytest.RawConn, res *http.Response) *proxytest.RawConn {
	t.Helper()
	if !res.Close {
		return c
	}
	return p.dial(t)
}

// connect opens a tunnel to authority.
func (p *testProxy) connect(t testing.TB, authority string) *proxytest.RawConn {
	t.Helper()
	c := p.dial(t)
	c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", authority)
	if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT %s: %s", authority, res.Status)
	}
	return c
}

// intercepted opens a tunnel to host and speaks TLS in it.
func (p *testProxy) intercepted(t testing.TB, protos ...string) *proxytest.RawConn {
	t.Helper()
	return proxytest.Secure(t, p.connect(t, proxytest.Host+":443"), &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host, NextProtos: protos})
}
