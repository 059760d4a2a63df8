package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// reset breaks the connection below TLS or another wrapper.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			_ = c.SetLinger(0)
			_ = c.Close()
			return
		case *tls.Conn:
			conn = c.NetConn()
		case *proxytest.RawConn:
			conn = c.Conn
		default:
			t.Errorf("a connection of type %T", conn)
			return
		}
	}
}

// TestCutBy has each side break streams, WebSockets and tunnels, and finds in the log and in
// the outcome which it was.
func TestCutBy(t *testing.T) {
	t.Parallel()
	// A way begins an exchange with a server that breaks it when broken is closed, and
	// returns how the client does.
	ways := map[string]func(t *testing.T, p *testProxy, server string) (byClient func()){
		"websocket": func(t *testing.T, p *testProxy, _ string) func() {
			c := p.intercepted(t)
			c.Send(t, "GET /websocket HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", proxytest.Host)
			if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(res.Status)
			}
			c.Expect(t, "x")
			return func() { reset(t, c) }
		},
		"tunnel": func(t *testing.T, p *testProxy, server string) func() {
			c := p.connect(t, server)
			c.Expect(t, "x")
			return func() { reset(t, c) }
		},
	}
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		ways["stream over "+proto] = func(t *testing.T, p *testProxy, _ string) func() {
			c := p.client(t, proto)
			c.Timeout = 0
			res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/stream", nil))
			if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			return func() { res.Body.Close() }
		}
	}
	for name, way := range ways {
		for _, side := range []string{cut.Client, cut.Server, cut.Proxy} {
			for _, upstream := range []string{proxytest.H1, proxytest.H2} {
				if upstream == proxytest.H2 && (name == "websocket" || name == "tunnel") {
					continue
				}
				t.Run(fmt.Sprintf("%s by the %s, server of %s", name, side, upstream), func(t *testing.T) {
					t.Parallel()
					broken := make(chan struct{})
					backend := proxytest.NewBackend(t, upstream, func(w http.ResponseWriter, r *http.Request) {
						if r.URL.Path == "/websocket" {
							conn, rw, err := http.NewResponseController(w).Hijack()
							if err != nil {
								t.Error(err)
								return
							}
							defer conn.Close()
							_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nx")
							_ = rw.Flush()
							<-broken
							reset(t, conn)
							return
						}
						_, _ = io.WriteString(w, "x")
						_ = http.NewResponseController(w).Flush()
						select {
						case <-broken:
							panic(http.ErrAbortHandler)
						case <-r.Context().Done():
						}
					})
					raw := proxytest.NewRawServer(t, func(c net.Conn) {
						_, _ = io.WriteString(c, "x")
						<-broken
						_ = c.(*net.TCPConn).SetLinger(0)
					})
					outcomes := make(chan Outcome, 10)
					p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
						c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
						c.Observe = func(o Outcome) { outcomes <- o }
					})
					byClient := way(t, p, raw)
					switch side {
					case cut.Client:
						byClient()
					case cut.Server:
						close(broken)
					case cut.Proxy:
						p.cutNow()
					}
					p.logged(t, `"cut_by":"`+side+`"`)
					if side != cut.Server {
						close(broken)
					}
					for o := range outcomes {
						if o.Kind == KindConnect {
							continue
						}
						if o.CutBy != side || o.Failure == "" {
							t.Errorf("the outcome has %q, %q", o.CutBy, o.Failure)
						}
						break
					}
				})
			}
		}
	}
}

// TestUploadCutByClient has a client break off while it sends a body.
func TestUploadCutByClient(t *testing.T) {
	t.Parallel()
	came := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H1, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 1))
		close(came)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.intercepted(t)
	c.Send(t, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nbegun", proxytest.Host)
	proxytest.Wait(t, "the body", came)
	reset(t, c)
	p.logged(t, `"cut_by":"client"`)
}
