package h1client

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

const example = "chatgpt.example:443"

// postOf returns a request with body.
func postOf(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+example+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type zeroBody struct{}

func (zeroBody) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// unreadConn is the connection to a server that reads the header of a request,
// and answers when it might read the body.
type unreadConn struct {
	net.Conn
	answer io.Reader
	body   chan struct{} // closed when something of the body is written
	begun  bool
	once   sync.Once
	closed chan struct{}
}

func (c *unreadConn) Write(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		return len(p), nil
	}
	close(c.body)
	<-c.closed
	return 0, net.ErrClosed
}

func (c *unreadConn) Read(p []byte) (int, error) {
	<-c.body
	if n, err := c.answer.Read(p); err == nil {
		return n, nil
	}
	<-c.closed
	return 0, net.ErrClosed
}

func (c *unreadConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *unreadConn) SetReadDeadline(time.Time) error { return nil }

// count returns how many connections are open, and how many of them are kept.
func (p *connPool) count() (open, kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[example], p.n
}

// TestUploadNobodyReads has a server answer that neither reads the body nor closes
// the connection. When the answer has ended so does the connection.
func TestUploadNobodyReads(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"with a body":    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much",
		"without a body": "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
		"the last":       "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn := &unreadConn{answer: strings.NewReader(answer), body: make(chan struct{}), closed: make(chan struct{})}
				defer conn.Close() // or what is left would hold the test up
				pool := newPool()
				pool.reserve(example)
				r := postOf(t, io.LimitReader(zeroBody{}, 1<<20))
				r.ContentLength = 1 << 20
				res, err := newConn(pool, example, conn, nil).roundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(res.Body); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				if open, kept := pool.count(); open != 0 || kept != 0 {
					t.Errorf("%d connections are open, %d are kept", open, kept)
				}
			})
		})
	}
}

// TestUploadEndsLate has the answer end a moment before the request has. The
// connection is good for another one.
func TestUploadEndsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pool := newPool()
		pool.reserve(example)
		client, server := net.Pipe()
		c := newConn(pool, example, client, nil)
		body, w := io.Pipe()
		go func() {
			_, _ = http.ReadRequest(bufio.NewReader(server))
			_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_, _ = io.Copy(io.Discard, server)
		}()
		res, err := c.roundTrip(postOf(t, body))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		w.Close()
		time.Sleep(time.Second)
		if open, kept := pool.count(); open != 1 || kept != 1 {
			t.Errorf("%d connections are open, %d are kept", open, kept)
		}
		pool.closeIdle()
	})
}

// brokenBody is a body whose reading panics.
type brokenBody struct{ io.Reader }

func (brokenBody) Read([]byte) (int, error) { panic("no body") }

// TestPanicOfBody has the sending of a body panic. It is the error of the request alone.
func TestPanicOfBody(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close()
	go func() { _, _ = io.Copy(io.Discard, there) }()
	c := newConn(newPool(), example, here, nil)
	_, err := c.roundTrip(postOf(t, brokenBody{}))
	if _, ok := errors.AsType[*contain.PanicError](err); !ok {
		t.Error(err)
	}
}
