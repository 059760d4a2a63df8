package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/h1client"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestUpstreamProtocol has a server that speaks both: it is spoken to as the
// client speaks.
func TestUpstreamProtocol(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
		backend.TLS.GetConfigForClient = nil
		want := map[string]string{proxytest.H1: "HTTP/1.1", proxytest.H2: "HTTP/2.0"}[proto]
		c := startProxy(t, backend.Listener.Addr().String()).client(t, proto)
		if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != want {
			t.Errorf("the server was spoken to over %s, want %s", got, want)
		}
	})
}

// TestManyStreams has as many streams of HTTP/1.1 clients as may have a connection
// to the server each. The others share one of HTTP/2.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	const more = 10
	release := make(chan struct{})
	protos := make(chan string, h1client.MaxPerHost+more)
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		protos <- r.Proto
		<-release
	})
	backend.TLS.GetConfigForClient = nil
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.client(t, proxytest.H1)
	count := make(map[string]int)
	for i := range h1client.MaxPerHost + more {
		proxytest.Get(t, c, proxytest.Origin+"/")
		if count[<-protos]++; i == h1client.MaxPerHost-1 && count["HTTP/1.1"] != h1client.MaxPerHost {
			t.Errorf("at first %v", count)
		}
	}
	if count["HTTP/2.0"] != more {
		t.Errorf("the server was spoken to over %v", count)
	}
	close(release)
	// When they have ended there is room again.
	proxytest.Eventually(t, func() error {
		proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body)
		if proto := <-protos; proto != "HTTP/1.1" {
			return errors.New(proto)
		}
		return nil
	})
}

// TestRefusedHTTP1 has a server that speaks HTTP/2 only, and is asked once
// whether it does.
func TestRefusedHTTP1(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, " over "+r.Proto)
	})
	var handshakes []string
	refuse := backend.TLS.GetConfigForClient
	backend.TLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		handshakes = append(handshakes, strings.Join(hello.SupportedProtos, " "))
		return refuse(hello)
	}
	c := startProxy(t, backend.Listener.Addr().String()).client(t, proxytest.H1)
	for range 3 {
		res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", strings.NewReader("body")))
		if got := proxytest.ReadAll(t, res.Body); got != "body over HTTP/2.0" {
			t.Errorf("%s: %q", res.Status, got)
		}
	}
	if got := fmt.Sprint(handshakes); got != "[http/1.1 h2 http/1.1]" {
		t.Errorf("handshakes that offer %s", got)
	}
}

// keptConnections is a server that answers with the number of the connection,
// and does something after an answer to /kept.
func keptConnections(t *testing.T, after func(c *tls.Conn, r *bufio.Reader)) string {
	numbers := make(chan int, 1)
	numbers <- 1
	return proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		n := <-numbers
		numbers <- n + 1
		r := bufio.NewReader(c)
		for {
			head, err := proxytest.RequestHead(r)
			if err != nil {
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
			if strings.Contains(head[0], "/kept") {
				after(c, r)
			}
		}
	})
}

// TestUnaskedAnswer: what a server sends after an answer is not the answer to
// the next request, in the same record or in one of its own.
func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	const unasked = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX"
	sent := make(chan struct{})
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		for {
			head, err := proxytest.RequestHead(r)
			if err != nil {
				return
			}
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			if strings.Contains(head[0], "/together") {
				answer += unasked
			}
			_, _ = io.WriteString(c, answer)
			if strings.Contains(head[0], "/apart") {
				_, _ = io.WriteString(c, unasked)
				sent <- struct{}{}
			}
		}
	})
	c := startProxy(t, address).client(t, proxytest.H1)
	for _, path := range []string{"/together", "/", "/apart", "/"} {
		if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+path).Body); got != "ok" {
			t.Errorf("%s: %q", path, got)
		}
		if path == "/apart" {
			<-sent
		}
	}
}

// TestClosedWhileKept has the server close a connection that is kept. A request
// that cannot be sent twice goes to another.
func TestClosedWhileKept(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{})
	address := keptConnections(t, func(c *tls.Conn, _ *bufio.Reader) {
		c.Close()
		closed <- struct{}{}
	})
	c := startProxy(t, address).client(t, proxytest.H1)
	for _, want := range []string{"1", "2", "3"} {
		res := proxytest.Do(t, c, proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/kept", strings.NewReader("")))
		if got := proxytest.ReadAll(t, res.Body); got != want {
			t.Errorf("%s: %q, want an answer from connection %s", res.Status, got, want)
		}
		<-closed
	}
}

// TestClosedAtOnce has the server close a connection when the second request is
// under way on it. That is sent again if it does no harm.
func TestClosedAtOnce(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{http.MethodGet: "2", http.MethodPost: ""} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			address := keptConnections(t, func(c *tls.Conn, r *bufio.Reader) {
				_, _ = proxytest.RequestHead(r)
				c.Close()
			})
			c := startProxy(t, address).client(t, proxytest.H1)
			if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/kept").Body); got != "1" {
				t.Fatal(got)
			}
			res := proxytest.Do(t, c, proxytest.NewRequest(t, method, proxytest.Origin+"/", nil))
			if want == "" {
				proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_closed", "connection_terminated")
			} else if got := proxytest.ReadAll(t, res.Body); got != want {
				t.Errorf("%s: %q", res.Status, got)
			}
		})
	}
}

// TestLongAnswerHeader bounds what is read of an answer before its body.
func TestLongAnswerHeader(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{"final": "HTTP/1.1 200 OK\r\n", "informational": "HTTP/1.1 103 Early Hints\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
				if _, err := proxytest.RequestHead(bufio.NewReader(c)); err != nil {
					return
				}
				line := "X-Long: " + strings.Repeat("x", 10_000) + "\r\n"
				for _, err := io.WriteString(c, begin); err == nil; {
					_, err = io.WriteString(c, line)
				}
			})
			res := proxytest.Get(t, startProxy(t, address).client(t, proxytest.H1), proxytest.Origin+"/")
			proxytest.WantRefusal(t, res, http.StatusBadGateway, "upstream_failed", "destination_unavailable")
		})
	}
}

// TestAnswerAfterRefusedBody has the server answer and close the connection
// without having read the body, so that sending the rest fails.
func TestAnswerAfterRefusedBody(t *testing.T) {
	t.Parallel()
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		if _, err := proxytest.RequestHead(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much")
			_ = c.CloseWrite()
			_, _ = io.CopyN(io.Discard, c, 1<<20)
		}
	})
	client := startProxy(t, address).intercepted(t)
	client.Send(t, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", proxytest.Host, 64<<20)
	go func() { _, _ = io.CopyN(client.Conn, proxytest.ZeroReader{}, 64<<20) }()
	res := client.Response(t, http.MethodPost)
	if got, err := io.ReadAll(res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || string(got) != "too much" {
		t.Errorf("%s, %q, %v", res.Status, got, err)
	}
}
