package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestUnreadIsCut revokes the token of a client whose WebSocket or tunnel has a server that reads
// nothing, so that the proxy waits for both. It is not parallel, for it looks at all goroutines.
func TestUnreadIsCut(t *testing.T) {
	for name, test := range map[string]struct {
		frame string // of the goroutine that writes to the server
		begin func(t *testing.T, done chan struct{}) (server, authority string, open func(*proxytest.RawConn) *proxytest.RawConn)
	}{
		"websocket": {"proxy.(*upgradedBody).Write", func(t *testing.T, done chan struct{}) (string, string, func(*proxytest.RawConn) *proxytest.RawConn) {
			server := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				_, _ = proxytest.RequestHead(bufio.NewReader(c))
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				<-done
			})
			return server, proxytest.Host + ":443", func(c *proxytest.RawConn) *proxytest.RawConn {
				c = proxytest.Secure(t, c, &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host})
				c.Send(t, upgradeRequest, "websocket")
				if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
					t.Fatal(res.Status)
				}
				return c
			}
		}},
		"tunnel": {"proxy.pipe", func(t *testing.T, done chan struct{}) (string, string, func(*proxytest.RawConn) *proxytest.RawConn) {
			server := proxytest.NewRawServer(t, func(net.Conn) { <-done })
			return server, server, func(c *proxytest.RawConn) *proxytest.RawConn { return c }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			defer close(done)
			server, authority, open := test.begin(t, done)
			p := startProxy(t, server, func(c *Config) {
				c.Clients.Token = "sesame"
				c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			})
			c := p.dial(t)
			c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %s\r\n\r\n", authority, proxytest.BasicAuth("build", "sesame"))
			if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			c = open(c)
			go func() { _, _ = io.Copy(c.Conn, zeros{}) }() // until the connection is closed
			proxytest.Eventually(t, func() error {
				for _, stack := range proxytest.Goroutines() {
					if strings.Contains(stack, test.frame) && strings.Contains(stack, "waitWrite") {
						return nil
					}
				}
				return errors.New("nobody waits until the server reads")
			})
			p.reconfigure(func(c *Config) { c.Clients.Token = "other" })
			p.logged(t, "cut because the client would not be let in any more", `"cut_by":"proxy"`)
			p.noneHeld(t)
		})
	}
}
