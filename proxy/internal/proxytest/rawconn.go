package proxytest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Secure returns a connection that speaks TLS over c.
func Secure(t testing.TB, c *RawConn, config *tls.Config) *RawConn {
	t.Helper()
	secured := tls.Client(c.Conn, config)
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return NewRawConn(t, secured)
}

// RawConn is a client's connection on which a test writes bytes itself.
type RawConn struct {
	net.Conn
	R *bufio.Reader
}

// NewRawConn returns c, which is closed when the test ends.
func NewRawConn(t testing.TB, c net.Conn) *RawConn {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	return &RawConn{c, bufio.NewReader(c)}
}

// Send writes what format and args make.
func (c *RawConn) Send(t testing.TB, format string, args ...any) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(Patience)) // for each step, however many there are
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		t.Fatal(err)
	}
}

// Response reads the header of the response to a request with method.
func (c *RawConn) Response(t testing.TB, method string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.R, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %s: %v", method, err)
	}
	return res
}

// Expect reads want.
func (c *RawConn) Expect(t testing.TB, want string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(Patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.R, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// ExpectEOF reads the end of the connection.
func (c *RawConn) ExpectEOF(t testing.TB) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(Patience))
	if rest, err := io.ReadAll(c.R); err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// RequestHead returns the lines of the next request's header as they came.
func RequestHead(r *bufio.Reader) (lines []string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return lines, err
		}
		if line = strings.TrimSuffix(line, "\r\n"); line == "" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}
