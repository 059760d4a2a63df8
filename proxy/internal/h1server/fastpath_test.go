package h1server

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"
)

// oneShot is a connection that has b to be read, and then ends.
type oneShot struct {
	net.Conn
	r io.Reader
}

func (c oneShot) Read(p []byte) (int, error) { return c.r.Read(p) }

// oneConn is a listener with one connection.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l oneConn) Close() error {
	close(l.closed)
	return nil
}

func (oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// FuzzFastPath has net/http's server understand every plain head as it is
// understood here, to its last byte.
func FuzzFastPath(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b=c HTTP/1.1\r\nhOsT:a \r\nX:\r\nconnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabcGET",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:  0x1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", "GET / HTTP/1.1\r\n\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: close\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "HEAD /%2f%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 || !fastPath(b) {
			return
		}
		reader := bufio.NewReader(strings.NewReader(string(b)))
		_, _ = reader.Peek(len(b))
		got, err := http.ReadRequest(reader)
		if err != nil {
			return // and net/http is asked
		}
		end := strings.Index(string(b), "\r\n\r\n") + len("\r\n\r\n")
		if left := reader.Buffered(); left != len(b)-end {
			t.Errorf("%q: %d bytes are left, want %d", b, left, len(b)-end)
		}
		if got.ProtoMajor != 1 || got.ProtoMinor != 1 || got.TransferEncoding != nil || got.Trailer != nil || got.URL.IsAbs() {
			t.Errorf("%q: %+v", b, got)
		}
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		var want *http.Request
		done := make(chan struct{})
		conns := make(chan net.Conn, 1)
		conns <- oneShot{ours, strings.NewReader(string(b))}
		server := &http.Server{
			ErrorLog: log.New(io.Discard, "", 0), DisableGeneralOptionsHandler: true,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want == nil {
					want = r
				}
				w.Header()["Connection"] = []string{"close"}
			}),
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(done)
				}
			},
		}
		go func() { _ = server.Serve(oneConn{conns, make(chan struct{})}) }()
		<-done
		_ = server.Close()
		theirs.Close()
		switch {
		case want == nil:
			if httpguts.ValidHostHeader(got.Host) {
				t.Errorf("%q: net/http refuses what is read as %+v", b, got)
			}
		case got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host ||
			got.ContentLength != want.ContentLength || got.Close != want.Close || !reflect.DeepEqual(got.Header, want.Header):
			t.Errorf("%q: %+v, with net/http %+v", b, got, want)
		}
	})
}
