//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawTimeout bounds an exchange over a raw connection.
const rawTimeout = time.Minute

// rawAnswer is what came back for a request that was written byte by byte.
type rawAnswer struct {
	status int    // 0 if the stream or the connection was ended without an answer
	header string // all of it
	body   string
}

// connect opens a connection to the proxy and sends a CONNECT. The connection
// leads to the authority if the status is 200.
func (p *proxy) connect(t *testing.T, authority, host string) (net.Conn, rawAnswer) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.addr, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		t.Fatal(err)
	}
	writeString(t, conn, "CONNECT "+authority+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	// Nothing comes after the answer before the client's hello.
	return conn, readAnswer(t, bufio.NewReader(conn), http.MethodConnect)
}

// tunnel opens a tunnel to port 443 of host and speaks TLS in it, with the given
// server name. The certificate must be the host's whatever the name is.
func (p *proxy) tunnel(t *testing.T, host, serverName string, protocols ...string) *tls.Conn {
	t.Helper()
	raw, answer := p.connect(t, host+":443", host+":443")
	if answer.status != http.StatusOK {
		t.Fatalf("CONNECT %s: %d\n%s", host, answer.status, answer.body)
	}
	return p.secure(t, raw, host, serverName, protocols...)
}

// secure speaks TLS with the proxy on a connection that leads to host.
func (p *proxy) secure(t *testing.T, raw net.Conn, host, serverName string, protocols ...string) *tls.Conn {
	t.Helper()
	roots := p.roots(t)
	conn := tls.Client(raw, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         protocols,
		ServerName:         serverName,
		InsecureSkipVerify: true, // in favour of what follows
		VerifyConnection: func(state tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: host})
			return err
		},
	})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; !slices.Contains(append(protocols, ""), got) {
		t.Fatalf("the proxy chose %q of %q", got, protocols)
	}
	return conn
}

// roots returns a pool with the proxy's CA.
func (p *proxy) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(readFile(t, p.ca))) {
		t.Fatalf("%s has no certificate", p.ca)
	}
	return roots
}

func writeString(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// askHTTP1 writes a request as it is, and reads the answer.
func askHTTP1(t *testing.T, conn net.Conn, request string) rawAnswer {
	t.Helper()
	writeString(t, conn, request)
	method, _, _ := strings.Cut(request, " ")
	return readAnswer(t, bufio.NewReader(conn), method)
}

func readAnswer(t *testing.T, r *bufio.Reader, method string) rawAnswer {
	t.Helper()
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer response.Body.Close()
	var header bytes.Buffer
	_ = response.Header.Write(&header) // memory does not fail
	a := rawAnswer{status: response.StatusCode, header: header.String()}
	if response.StatusCode == http.StatusOK && method == http.MethodConnect {
		return a
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	a.body = string(body)
	return a
}

// askHTTP2 sends a request with exactly the given header fields, and reads the
// answer.
func askHTTP2(t *testing.T, conn net.Conn, fields []hpack.HeaderField) rawAnswer {
	t.Helper()
	writeString(t, conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	const stream = 1
	if err := framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	}); err != nil {
		t.Fatal(err)
	}
	var a rawAnswer
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("read the answer: %v", err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				if err := framer.WriteSettingsAck(); err != nil {
					t.Fatal(err)
				}
			}
		case *http2.MetaHeadersFrame:
			a.status, _ = strconv.Atoi(f.PseudoValue("status"))
			for _, h := range f.RegularFields() {
				a.header += h.Name + ": " + h.Value + "\n"
			}
		case *http2.DataFrame:
			a.body += string(f.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return a
		}
		if frame.Header().StreamID == stream && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return a
		}
	}
}
