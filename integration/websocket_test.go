//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// dialWebSocket opens a WebSocket to path on chatgpt.com through the proxy.
func (p *proxy) dialWebSocket(t *testing.T, path string, compression websocket.CompressionMode) (context.Context, *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	t.Cleanup(cancel)
	transport := &http.Transport{
		Proxy:           http.ProxyURL(p.url(t)),
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)},
	}
	t.Cleanup(transport.CloseIdleConnections)
	conn, _, err := websocket.Dial(ctx, "wss://chatgpt.com"+path, &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: transport},
		CompressionMode: compression,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(-1)
	return ctx, conn
}

// closeSocket closes a WebSocket. The library waits five seconds for the other side to say the
// same, within which a busy machine need not have got there: that is no error. TestWebSocketClose
// waits for what the other side says.
func closeSocket(c *websocket.Conn, code websocket.StatusCode, reason string) error {
	if err := c.Close(code, reason); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func TestWebSocketEcho(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	random := make([]byte, 1<<20)
	_, _ = rand.Read(random) // never fails
	for name, compression := range map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "compressed": websocket.CompressionContextTakeover,
	} {
		t.Run(name, func(t *testing.T) {
			p.fixture.backend.ResetRequests()
			ctx, conn := p.dialWebSocket(t, "/backend-api/test/ws-echo", compression)
			for _, message := range []struct {
				typ  websocket.MessageType
				data []byte
			}{
				{websocket.MessageText, []byte("grüezi")},
				{websocket.MessageBinary, []byte{0, 1, 0xfe, 0xff}},
				{websocket.MessageText, nil},
				{websocket.MessageBinary, random},
				{websocket.MessageText, bytes.Repeat([]byte("agent"), 1<<18)},
			} {
				if err := conn.Write(ctx, message.typ, message.data); err != nil {
					t.Fatal(err)
				}
				typ, data, err := conn.Read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if typ != message.typ || !bytes.Equal(data, message.data) {
					t.Errorf("a %v of %d bytes came back as a %v of %d bytes", message.typ, len(message.data), typ, len(data))
				}
			}
			read := conn.CloseRead(ctx) // somebody has to read the pong
			if err := conn.Ping(ctx); err != nil {
				t.Errorf("ping: %v", err)
			}
			if err := closeSocket(conn, websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("close: %v", err)
			}
			<-read.Done()
			p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
		})
	}
}

// TestWebSocketClose checks that either side's code and reason reach the other.
func TestWebSocketClose(t *testing.T) {
	t.Parallel()
	heard := make(chan error, 1)
	p := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer conn.CloseNow()
		if r.URL.Path == "/server" {
			_ = conn.Close(4001, "the server's reason")
			return
		}
		_, _, err = conn.Read(r.Context())
		heard <- err
	}))
	t.Run("server", func(t *testing.T) {
		ctx, conn := p.dialWebSocket(t, "/server", websocket.CompressionDisabled)
		_, _, err := conn.Read(ctx)
		checkClose(t, err, websocket.CloseError{Code: 4001, Reason: "the server's reason"})
	})
	t.Run("client", func(t *testing.T) {
		_, conn := p.dialWebSocket(t, "/client", websocket.CompressionDisabled)
		if err := closeSocket(conn, 4002, "the client's reason"); err != nil {
			t.Error(err)
		}
		checkClose(t, <-heard, websocket.CloseError{Code: 4002, Reason: "the client's reason"})
	})
	t.Run("client, and the server's answer", func(t *testing.T) {
		conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1")
		const closing = "\x0f\xa2the client's reason" // 4002
		mask := "\x00\x00\x00\x00"                    // which leaves it as it is
		writeString(t, conn, lines("GET /client HTTP/1.1", "Host: chatgpt.com", "Connection: Upgrade", "Upgrade: websocket",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")+
			"\x88"+string([]byte{0x80 | byte(len(closing))})+mask+closing)
		r := bufio.NewReader(conn)
		response, err := http.ReadResponse(r, nil)
		if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%+v, %v", response, err)
		}
		want := "\x88" + string([]byte{byte(len(closing))}) + closing
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("the server said %q, %v; want %q", got, err, want)
		}
		checkClose(t, <-heard, websocket.CloseError{Code: 4002, Reason: "the client's reason"})
	})
	t.Run("client vanishes", func(t *testing.T) {
		_, conn := p.dialWebSocket(t, "/client", websocket.CompressionDisabled)
		_ = conn.CloseNow()
		if err := <-heard; websocket.CloseStatus(err) != -1 {
			t.Errorf("the server heard %v, want the connection's end", err)
		}
	})
}

func checkClose(t *testing.T, err error, want websocket.CloseError) {
	t.Helper()
	var got websocket.CloseError
	if !errors.As(err, &got) || got != want {
		t.Errorf("closed with %v, want %v", err, want)
	}
}

// TestUpgradeLosesNothing has both sides of an upgrade speak before they have
// heard of the other, and go on after the other has fallen silent.
func TestUpgradeLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		clientFirst = "client first\n"
		serverFirst = "server first\n"
		serverLast  = "server last\n"
	)
	p := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		// The answer and the first bytes leave in one piece.
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n"+serverFirst)
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw) // until the client has no more to say
		_, _ = io.WriteString(conn, serverLast)
	}))
	conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1")
	writeString(t, conn, lines("GET / HTTP/1.1", "Host: chatgpt.com", "Connection: Upgrade", "Upgrade: websocket")+clientFirst)
	r := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; { // the header
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	first := make([]byte, len(serverFirst+clientFirst))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != serverFirst+clientFirst {
		t.Fatalf("received %q, %v", first, err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if last, err := io.ReadAll(r); err != nil || string(last) != serverLast {
		t.Errorf("received %q, %v; want %q", last, err, serverLast)
	}
}

// serveHandler starts a proxy whose ChatGPT is the handler.
func serveHandler(t *testing.T, handler http.Handler) *proxy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"chatgpt.com"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	up := handlerUpstream{server.Listener.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	return newFixture(t, fixtureConfig{upstream: up}).serve(t)
}

// handlerUpstream is a server whose certificate is its own authority.
type handlerUpstream struct {
	addr    string
	certPEM []byte
}

var _ upstream = handlerUpstream{}

func (u handlerUpstream) Addr() string    { return u.addr }
func (u handlerUpstream) CertPEM() []byte { return u.certPEM }
