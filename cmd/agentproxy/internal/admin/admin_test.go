package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
)

// flood is a listener to which as many connect as are accepted. None of them
// says anything.
type flood struct {
	accepted atomic.Int64
	closed   chan struct{}
}

func (l *flood) Accept() (net.Conn, error) {
	if l.accepted.Load() == 2*maxConns {
		<-l.closed
	}
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	l.accepted.Add(1)
	c, _ := net.Pipe()
	return c, nil
}

func (l *flood) Close() error {
	close(l.closed)
	return nil
}

func (l *flood) Addr() net.Addr { return &net.TCPAddr{} }

// TestConnections has no more connections at the admin listener than are
// of use, whoever opens them.
func TestConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := &flood{closed: make(chan struct{})}
		served := make(chan error, 1)
		go func() {
			served <- serve(ctx, l, http.NotFoundHandler(), func() access.Users { return nil }, nil)
		}()
		synctest.Wait()
		if n := l.accepted.Load(); n != maxConns {
			t.Errorf("%d connections were accepted, want %d", n, maxConns)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// startAdmin serves an admin listener on loopback that lets users in, and returns what
// connects to it.
func startAdmin(t *testing.T, users access.Users) (dial func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, l, guard(access.Config{Users: users}, http.NotFoundHandler()), func() access.Users { return users }, nil)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
}

func responseOf(t *testing.T, c net.Conn) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(raw)
}

// TestForeignHead turns another user away by the first bytes of a request that never
// ends.
func TestForeignHead(t *testing.T) {
	t.Parallel()
	c := startAdmin(t, access.Users{uint32(os.Getuid()) + 1})()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nX: ")
	status, body := responseOf(t, c)
	if status != http.StatusForbidden || !strings.Contains(body, fmt.Sprintf("process of user %d", os.Getuid())) || !strings.Contains(body, "admin_token") {
		t.Errorf("%d %s", status, body)
	}
}

// TestLargeHead refuses a header that is larger than any that is of use.
func TestLargeHead(t *testing.T) {
	t.Parallel()
	dial := startAdmin(t, nil)
	c := dial()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %s\r\n\r\n", strings.Repeat("x", 8<<10))
	if status, body := responseOf(t, c); status != http.StatusNotFound {
		t.Errorf("8 KiB: %d %s", status, body)
	}
	c = dial()
	go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %s", strings.Repeat("x", 64<<10))
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close() // which the end of the connection may cut
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB: %s", response.Status)
	}
}

// TestConnectionsOfOneClient has one client open as many connections as it may, which
// say nothing. The next one is told so, and served once one of them is closed.
func TestConnectionsOfOneClient(t *testing.T) {
	t.Parallel()
	dial := startAdmin(t, nil)
	var silent []net.Conn
	for range connsPerClient {
		c := dial()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		if status, body := responseOf(t, c); status != http.StatusNotFound {
			t.Fatalf("%d %s", status, body)
		}
		silent = append(silent, c)
	}
	ask := func() (status int, body string) {
		c := dial()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		return responseOf(t, c)
	}
	if status, body := ask(); status != http.StatusServiceUnavailable || !strings.Contains(body, "too many connections") {
		t.Errorf("%d %s", status, body)
	}
	silent[0].Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if status, _ := ask(); status == http.StatusNotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}
