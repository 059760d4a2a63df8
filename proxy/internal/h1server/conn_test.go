package h1server

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// watchedConn tells of a read that is waiting, and whether it was still waiting when the
// connection was closed.
type watchedConn struct {
	net.Conn
	told        atomic.Bool // that a read is to be told of
	reading     chan struct{}
	waiting     atomic.Int32
	closedEarly atomic.Bool
}

func (c *watchedConn) Read(p []byte) (int, error) {
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	if c.told.CompareAndSwap(true, false) {
		close(c.reading)
	}
	return c.Conn.Read(p)
}

func (c *watchedConn) Close() error {
	if c.waiting.Load() > 0 {
		c.closedEarly.Store(true)
	}
	return c.Conn.Close()
}

// TestNobodyReadsOn has a handler end, in the ways there are, while another goroutine waits
// for more of the request's body, as a transport does. The connection's reader is another
// one's next, so that nobody may read from it when the connection is closed.
func TestNobodyReadsOn(t *testing.T) {
	t.Parallel()
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	for name, end := range map[string]func(http.ResponseWriter){
		"answer": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"abort":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"part": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "part")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, there := net.Pipe()
			conn := &watchedConn{Conn: here, reading: make(chan struct{})}
			readEnded := make(chan struct{})
			server := New(Config{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
						t.Error(err)
					}
					conn.told.Store(true)
					go func() {
						defer close(readEnded)
						if _, err := r.Body.Read(make([]byte, 5)); err == nil {
							t.Error("there was more to read")
						}
					}()
					<-conn.reading
					end(w)
				}),
				TLS:              &tls.Config{Certificates: certificates.TLS.Certificates},
				HandOver:         func(net.Conn) { t.Error("the connection was handed over") },
				ConnContext:      func(ctx context.Context, _ net.Conn) context.Context { return ctx },
				BaseContext:      t.Context(),
				HandshakeTimeout: time.Minute, IdleTimeout: time.Minute, Linger: Linger{Pause: time.Millisecond, Total: time.Millisecond},
				ErrorLog: log.New(io.Discard, "", 0),
			})
			served := make(chan struct{})
			go func() {
				defer close(served)
				server.Serve(conn)
			}()
			client := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
			if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = io.Copy(io.Discard, client) }() // it leaves the closing to the server
			<-served
			<-readEnded
			client.Close()
			if conn.closedEarly.Load() {
				t.Error("the connection was closed while the body was read from it")
			}
		})
	}
}

// panickingConn panics when a second request is waited for.
type panickingConn struct {
	net.Conn
	panics atomic.Bool
}

func (c *panickingConn) Read(p []byte) (int, error) {
	if c.panics.Load() {
		panic("no request")
	}
	return c.Conn.Read(p)
}

// TestPanicWaiting has the wait for a request panic. The server does not take the connection for
// one that waits.
func TestPanicWaiting(t *testing.T) {
	t.Parallel()
	certificates := httptest.NewTLSServer(nil)
	defer certificates.Close()
	here, there := net.Pipe()
	conn := &panickingConn{Conn: here}
	server := New(Config{
		Handler:          http.HandlerFunc(func(http.ResponseWriter, *http.Request) { conn.panics.Store(true) }),
		TLS:              &tls.Config{Certificates: certificates.TLS.Certificates},
		HandOver:         func(net.Conn) { t.Error("the connection was handed over") },
		ConnContext:      func(ctx context.Context, _ net.Conn) context.Context { return ctx },
		BaseContext:      t.Context(),
		HandshakeTimeout: time.Minute, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0),
	})
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(conn)
	}()
	client := tls.Client(there, &tls.Config{InsecureSkipVerify: true})
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, client) }()
	<-served
	client.Close()
	if len(server.waiting) != 0 {
		t.Errorf("%d connections wait", len(server.waiting))
	}
}
