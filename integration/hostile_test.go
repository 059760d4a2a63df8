//go:build linux

package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostileServer sends back the credential that it was sent, wherever an answer
// can hold one.
type hostileServer struct {
	*rawServer

	mu          sync.Mutex
	credentials []string
}

func newHostileServer(t *testing.T) *hostileServer {
	t.Helper()
	s := new(hostileServer)
	s.rawServer = newRawServer(t, s.serve)
	return s
}

// rawServer is a server of ChatGPT's hosts that speaks TLS and leaves the rest to
// its test.
type rawServer struct {
	addr    string
	certPEM []byte
}

var _ upstream = (*rawServer)(nil)

func (s *rawServer) Addr() string    { return s.addr }
func (s *rawServer) CertPEM() []byte { return s.certPEM }

// newRawServer starts a server. serve is called for each connection, which it
// closes.
func newRawServer(t *testing.T, serve func(net.Conn)) *rawServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"chat.openai.com", "chatgpt.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return &rawServer{listener.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// seen returns the credentials that came.
func (s *hostileServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.credentials...)
}

func (s *hostileServer) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	r := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		value := request.Header.Get("Authorization")
		_, credential, _ := strings.Cut(value, " ")
		s.mu.Lock()
		s.credentials = append(s.credentials, credential)
		s.mu.Unlock()
		switch request.URL.Path {
		case "/echo":
			fmt.Fprintf(conn, "HTTP/1.1 103 Early Hints\r\nLink: <%[1]s>\r\n\r\nHTTP/1.1 200 %[1]s\r\nX-Echo: %[2]s\r\nSet-Cookie: c=%[1]s\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nhi\r\n0\r\nX-Late: %[1]s\r\nX-Later: %[2]s\r\n\r\n", credential, value)
		case "/unasked":
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi%s\r\n\r\n", value)
			return
		case "/broken":
			fmt.Fprintf(conn, "%s\r\n\r\n", value)
			return
		default:
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", value)
			return
		}
	}
}
