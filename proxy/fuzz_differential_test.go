package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// sentinel is a request that follows what a test sends. Once it is answered, so
// is all before it.
const sentinel = "GET /sentinel HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: close\r\n\r\n"

// fuzzPause is how long the proxy is waited for when it says nothing more, as
// where it wants the rest of a body. Nothing depends on it but how much of an
// input is looked at.
const fuzzPause = 10 * time.Millisecond

// tunnelSeeds are inputs of FuzzTunnelBytes, besides smuggling.
var tunnelSeeds = []string{
	"GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n",
	"POST /a?b=c HTTP/1.1\r\nHost: chatgpt.com:443\r\nContent-Length: 3\r\nAuthorization: Bearer mine\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: chatgpt.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Authorization, Chatgpt-Account-Id, Host\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"GET https://chatgpt.com/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
	"PUT //a%2Fb HTTP/1.1\r\nHost: chatgpt.com\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
	"OPTIONS * HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n",
	"HEAD / HTTP/1.0\r\nHost: chatgpt.com\r\nConnection: keep-alive\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

// FuzzTunnelBytes sends bytes through an intercepted tunnel. Whatever of it the
// proxy forwards, a strict server must read as requests to the tunnel's host,
// each with one credential, which the proxy made for it alone. And where a
// strict parser takes the client's own bytes for requests, those are the ones
// that arrive.
func FuzzTunnelBytes(f *testing.F) {
	for _, test := range smuggling {
		f.Add([]byte(test.request))
	}
	for _, s := range tunnelSeeds {
		f.Add([]byte(s))
	}
	p := newStrictProxy(f)
	dial := p.fuzzDialer()
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		answers := exchangeBytes(c, append(raw[:len(raw):len(raw)], sentinel...))
		requests, err := p.settled()
		if err != nil {
			t.Errorf("%v\nsent: %q\nanswered: %q", err, raw, answers)
		}
		if strings.Contains(answers, numberedToken) {
			t.Errorf("the client is shown the proxy's credential: %q", answers)
		}
		compareRequests(t, append(raw[:len(raw):len(raw)], sentinel...), requests)
	})
}

// fuzzDialer opens intercepted tunnels, with TLS sessions that are resumed.
func (p *strictProxy) fuzzDialer() func() (net.Conn, error) {
	config := &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	return func() (net.Conn, error) {
		raw, err := net.Dial("tcp", p.addr)
		if err != nil {
			return nil, err
		}
		_ = raw.SetDeadline(time.Now().Add(proxytest.Patience))
		if _, err := io.WriteString(raw, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		if _, err := io.ReadFull(raw, make([]byte, len(connectEstablished))); err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return tls.Client(raw, config), nil
	}
}

// exchangeBytes sends raw and returns what is answered until the connection ends
// or nothing more comes.
func exchangeBytes(c net.Conn, raw []byte) (answers string) {
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(proxytest.Patience))
	if _, err := c.Write(raw); err != nil {
		return ""
	}
	var all strings.Builder
	buf := make([]byte, 4096)
	for {
		_ = c.SetReadDeadline(time.Now().Add(fuzzPause))
		n, err := c.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			return all.String()
		}
	}
}

// compareRequests reads raw with the strict parser, as far as that can, and
// compares what it makes of it with what arrived.
func compareRequests(t *testing.T, raw []byte, arrived []*strictRequest) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(string(raw)))
	for i := 0; i < len(arrived); i++ {
		q, err := readStrict(r, func() {})
		if err != nil || !q.simple() {
			return // the proxy may be more lenient, or refuses it
		}
		if got := arrived[i]; got.method != q.method || got.target != q.target || got.body != q.body {
			t.Errorf("request %d arrived as %s %q with body %q\nsent: %q", i, got.method, got.target, got.body, raw)
		}
	}
}

// simple reports whether a request has nothing in it that lets the proxy refuse
// it or send it in another form.
func (q *strictRequest) simple() bool {
	return strings.HasPrefix(q.target, "/") && q.values("host")[0] == proxytest.Host && signer.KnownMethod(q.method) &&
		q.values("origin") == nil && q.values("sec-fetch-site") == nil && identity.IsBootstrapPath(q.target) == identity.BootstrapNone &&
		checks.Printable(strings.Join(q.values("upgrade"), ""))
}
