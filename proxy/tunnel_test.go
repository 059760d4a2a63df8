package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// tunnelTo starts a proxy through which tunnel.example:7 is at address.
func tunnelTo(t testing.TB, address string) *testProxy {
	t.Helper()
	return startProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["tunnel.example:7"] = address })
}

func closeWriteOf(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// TestTunnelHalfClose has either side say all before the other one answers.
func TestTunnelHalfClose(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 64<<10)
	t.Run("client first", func(t *testing.T) {
		t.Parallel()
		c := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) {
			said, _ := io.ReadAll(c)
			_, _ = c.Write(said)
		})).connect(t, "tunnel.example:7")
		c.Send(t, "%s", large)
		closeWriteOf(t, c.Conn)
		c.Expect(t, large)
		c.ExpectEOF(t)
	})
	t.Run("server first", func(t *testing.T) {
		t.Parallel()
		heard := make(chan string, 1)
		c := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) {
			_, _ = io.WriteString(c, large)
			_ = c.(*net.TCPConn).CloseWrite()
			said, _ := io.ReadAll(c)
			heard <- string(said)
		})).connect(t, "tunnel.example:7")
		c.Expect(t, large)
		c.ExpectEOF(t)
		c.Send(t, "%s", large)
		closeWriteOf(t, c.Conn)
		if got := <-heard; got != large {
			t.Errorf("the server heard %d bytes", len(got))
		}
	})
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		p := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) }))
		for range 20 { // whether the end is seen before the tunnel stands is chance
			c := p.dial(t)
			c.Send(t, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\n\r\nsent together")
			closeWriteOf(t, c.Conn)
			if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			c.Expect(t, "sent together")
			c.ExpectEOF(t)
		}
	})
}

// TestServerSpeaksFirst is what SSH and SMTP do.
func TestServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	c := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-server\r\n")
		_, _ = io.Copy(c, c)
	})).connect(t, "tunnel.example:7")
	c.Expect(t, "SSH-2.0-server\r\n")
	c.Send(t, "SSH-2.0-client\r\n")
	c.Expect(t, "SSH-2.0-client\r\n")
}

// TestSentTogether has clients that send the first bytes of what is to go
// through the tunnel together with CONNECT.
func TestSentTogether(t *testing.T) {
	t.Parallel()
	t.Run("tunnel", func(t *testing.T) {
		t.Parallel()
		p := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) }))
		for _, size := range []int{1, 1000, 3000, 4095, 4096, 100_000} { // around net/http's buffer
			first := strings.Repeat("f", size)
			c := p.dial(t)
			c.Send(t, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\n\r\n%s", first)
			if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
			c.Expect(t, first)
			c.Send(t, "more")
			c.Expect(t, "more")
			closeWriteOf(t, c.Conn)
			c.ExpectEOF(t)
		}
	})
	t.Run("intercepted", func(t *testing.T) {
		t.Parallel()
		address, _ := countingBackend(t)
		c := startProxy(t, address).dial(t)
		together := &togetherConn{RawConn: c, first: "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"}
		secured := proxytest.Secure(t, proxytest.NewRawConn(t, together), &tls.Config{RootCAs: proxytest.Pool(proxytest.ClientCA()), ServerName: proxytest.Host})
		secured.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
		if res := secured.Response(t, http.MethodGet); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
	})
}

// togetherConn sends first in front of the first bytes that are written, in the
// same write, and reads the answer to it before anything else.
type togetherConn struct {
	*proxytest.RawConn
	first   string
	skipped bool
}

func (c *togetherConn) Write(p []byte) (int, error) {
	first := c.first
	c.first = ""
	n, err := c.Conn.Write(append([]byte(first), p...))
	return n - len(first), err
}

func (c *togetherConn) Read(p []byte) (int, error) {
	for !c.skipped {
		line, err := c.R.ReadString('\n')
		if err != nil {
			return 0, err
		}
		c.skipped = line == "\r\n"
	}
	return c.R.Read(p)
}

// TestTunnelCutByServer has the server's side of a tunnel break.
func TestTunnelCutByServer(t *testing.T) {
	t.Parallel()
	p := tunnelTo(t, proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.(*net.TCPConn).SetLinger(0) // a reset
	}))
	c := p.connect(t, "tunnel.example:7")
	c.Send(t, "go")
	if n, err := c.R.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes", n)
	}
	p.logged(t, `"failure":"cut"`)
}

// TestPrivateAddresses refuses what a name or an address leads to, at the time
// of dialling.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	_, port, _ := net.SplitHostPort(echo)
	refusing := startProxy(t, "")
	for _, authority := range []string{
		"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port,
		"10.0.0.1:1", "169.254.169.254:80", "[fd00:ec2::254]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
	} {
		c := refusing.dial(t)
		c.Send(t, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", authority)
		res := c.Response(t, http.MethodGet)
		if message := proxytest.WantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited"); !strings.Contains(message, "upstream.allow_private") {
			t.Errorf("%s: %s", authority, message)
		}
	}
	res := proxytest.Get(t, refusing.client(t, proxytest.H1), "http://localhost:"+port+"/")
	proxytest.WantRefusal(t, res, http.StatusForbidden, "private_address", "destination_ip_prohibited")

	allowing := startProxy(t, "", func(c *Config) {
		c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for _, authority := range []string{"127.0.0.1:" + port, "[::ffff:127.0.0.1]:" + port, "localhost:" + port} {
		c := allowing.connect(t, authority)
		c.Send(t, "x")
		c.Expect(t, "x")
	}
}
