package proxy

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// via has all servers be reached through the proxy at address.
func via(address string) func(*Config) {
	return func(c *Config) {
		u := &url.URL{Scheme: "http", Host: address, User: url.UserPassword("user", "hush-hush")}
		c.Upstream.Proxy = u
	}
}

// newUpstreamProxy starts a proxy that connects all tunnels to address. What
// the server says at once goes out in one write with the answer to CONNECT.
func newUpstreamProxy(t testing.TB, address string, heads chan<- []string) string {
	t.Helper()
	return proxytest.NewRawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		head, err := proxytest.RequestHead(r)
		if err != nil {
			return
		}
		heads <- head
		server, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer server.Close()
		answer := []byte("HTTP/1.1 200 OK\r\nX-Proxy: 1\r\n\r\n")
		if strings.Contains(head[0], ":22 ") {
			banner, _ := bufio.NewReader(server).ReadString('\n')
			answer = append(answer, banner...)
		}
		_, _ = c.Write(answer)
		go func() {
			_, _ = io.Copy(server, r)
			_ = server.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(c, server)
	})
}

var wantCredentials = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user:hush-hush"))

// TestUpstreamProxyTunnel loses nothing of what a server says right away.
func TestUpstreamProxyTunnel(t *testing.T) {
	t.Parallel()
	ssh := proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "SSH-2.0-server\n")
		_, _ = io.Copy(c, c)
	})
	heads := make(chan []string, 1)
	p := startProxy(t, "", via(newUpstreamProxy(t, ssh, heads)))
	c := p.connect(t, "example.org:22")
	c.Expect(t, "SSH-2.0-server\n")
	c.Send(t, "SSH-2.0-client\n")
	c.Expect(t, "SSH-2.0-client\n")
	closeWriteOf(t, c.Conn)
	c.ExpectEOF(t)
	head := <-heads
	slices.Sort(head)
	if want := []string{"CONNECT example.org:22 HTTP/1.1", "Host: example.org:22", wantCredentials}; !slices.Equal(head, want) {
		t.Errorf("the proxy was asked:\n%s", strings.Join(head, "\n"))
	}
}

// TestUpstreamProxyIntercepted sends signed requests through it too.
func TestUpstreamProxyIntercepted(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		})
		heads := make(chan []string, 1)
		p := startProxy(t, "", via(newUpstreamProxy(t, backend.Listener.Addr().String(), heads)))
		if got := proxytest.ReadAll(t, proxytest.Get(t, p.client(t, server), proxytest.Origin+"/").Body); got != "Bearer "+proxytest.AccessToken {
			t.Errorf("the server saw %q", got)
		}
		head := <-heads
		if head[0] != "CONNECT chatgpt.com:443 HTTP/1.1" || !slices.Contains(head, wantCredentials) || strings.Contains(strings.Join(head, "\n"), proxytest.AccessToken) {
			t.Errorf("the proxy was asked:\n%s", strings.Join(head, "\n"))
		}
	})
}

// TestUpstreamProxyPlain sends plain requests to it whole.
func TestUpstreamProxyPlain(t *testing.T) {
	t.Parallel()
	heads := make(chan []string, 1)
	p := startProxy(t, "", via(proxytest.NewRawServer(t, proxytest.PlainRecorder(heads))))
	for _, target := range []string{"http://plain.example/a%2Fb?q", `http://plain.example/a"b`, "http://plain.example//a"} {
		c := p.dial(t)
		c.Send(t, "GET %s HTTP/1.1\r\nHost: plain.example\r\n\r\n", target)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusNoContent {
			t.Fatal(res.Status)
		}
		head := <-heads
		slices.Sort(head)
		if want := []string{"GET " + target + " HTTP/1.1", "Host: plain.example", wantCredentials}; !slices.Equal(head, want) {
			t.Errorf("the proxy was asked:\n%s", strings.Join(head, "\n"))
		}
	}
}

// TestUpstreamProxyRefuses tells the client so, and keeps the password.
func TestUpstreamProxyRefuses(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "", via(proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = proxytest.RequestHead(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 403 Not For You\r\nContent-Length: 0\r\n\r\n")
	})))
	c := p.dial(t)
	c.Send(t, "CONNECT example.org:22 HTTP/1.1\r\nHost: x\r\n\r\n")
	message := proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusBadGateway, "upstream_proxy", "destination_unavailable")
	if !strings.Contains(message, "403 Not For You") || strings.Contains(message, "hush-hush") {
		t.Errorf("message %q", message)
	}
	res := proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/")
	if message := proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_proxy", "destination_unavailable"); !strings.Contains(message, "Not For You") {
		t.Errorf("message %q", message)
	}
	if log := p.log.String(); strings.Contains(log, "hush-hush") {
		t.Errorf("the log has the proxy's password:\n%s", log)
	}
}

// TestUpstreamProxyHangs bounds the wait for its answer.
func TestUpstreamProxyHangs(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	silent := via(proxytest.NewRawServer(t, func(c net.Conn) {
		_, _ = proxytest.RequestHead(bufio.NewReader(c))
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	}))
	p := startProxy(t, "", silent)

	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	if conn, err := p.current().upstream.DialTunnel(ctx, hosts.Target{Host: "example.org", Port: "22"}); !errors.Is(err, context.Canceled) {
		t.Errorf("dialTunnel: %v, %v", conn, err)
	}

	c := startProxy(t, "", silent, func(c *Config) { c.Upstream.DialTimeout = time.Second }).dial(t)
	c.Send(t, "CONNECT example.org:22 HTTP/1.1\r\nHost: x\r\n\r\n")
	proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusBadGateway, "upstream_proxy", "connection_timeout")
}
