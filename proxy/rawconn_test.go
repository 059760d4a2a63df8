package proxy

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

func secure(t testing.TB, c *rawConn, config *tls.Config) *rawConn {
	t.Helper()
	secured := tls.Client(c.Conn, config)
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	return newRawConn(t, secured)
}

// rawConn is a client's connection on which a test writes bytes itself.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

func newRawConn(t testing.TB, c net.Conn) *rawConn {
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawConn{c, bufio.NewReader(c)}
}

func (c *rawConn) send(t testing.TB, format string, args ...any) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience)) // for each step, however many there are
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		t.Fatal(err)
	}
}

// response reads an answer's header; the body is left to be read.
func (c *rawConn) response(t testing.TB, method string) *http.Response {
	t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %s: %v", method, err)
	}
	return res
}

func (c *rawConn) expect(t testing.TB, want string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func (c *rawConn) expectEOF(t testing.TB) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
}

// requestHead reads a request's header as a server gets it, line by line.
func requestHead(r *bufio.Reader) (lines []string, err error) {
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

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
