package authz

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestGate turns away, of all that connect without authz.token, those who may not ask, before
// they have sent a header, and those with too many connections.
func TestGate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		users access.Users
		idle  int // connections before
		code  string
	}{
		{"another user's", access.Users{uint32(os.Getuid()) + 1}, 0, "foreign_user"},
		{"too many", access.Users{uint32(os.Getuid())}, connsPerClient, "too_many_connections"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			noted := make(chan string, 1)
			config := Config{Users: test.users, Refused: func(_ string, a proxy.Answer) { noted <- a.Code }}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- Serve(ctx, l, func() Config { return config }) }()
			defer func() {
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			dial := func() net.Conn {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				return c
			}
			for range test.idle {
				// Let in, as the answer shows.
				c := dial()
				fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
				if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusNotFound {
					t.Fatal(res, err)
				}
			}
			c := dial()
			fmt.Fprint(c, "GET ") // which the rest never follows
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), test.code) {
				t.Errorf("%s, %s, %v; want %s", res.Status, body, err, test.code)
			}
			if code := <-noted; code != test.code {
				t.Errorf("%s is noted, want %s", code, test.code)
			}
		})
	}
}

// TestStrangers has clients without authz.token begin heads over both protocols, and never end
// them. What is held of them is bounded, and a gateway that is known goes on.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for name, beginning := range map[string]string{
		"HTTP/1.1": "GET / HTTP/1.1\r\nX: ",
		"HTTP/2":   "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x40\x00\x01\x00\x00\x00\x00\x01" + strings.Repeat("\x00\x01a\x01b", 3276) + "\x00\x01a\x00" + "\x00\x40\x00\x09\x00\x00\x00\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noted := make(chan string, connsPerClient)
			config := Config{Token: "sesame", Refused: func(_ string, a proxy.Answer) { noted <- a.Code }}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			// On a slow machine the first heads would be over before the last have begun.
			go func() { served <- serveWithin(ctx, l, func() Config { return config }, time.Hour) }()
			var conns []net.Conn
			defer func() {
				for _, c := range conns {
					c.Close()
				}
				cancel()
				if err := <-served; err != nil {
					t.Error(err)
				}
			}()
			dial := func() net.Conn {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
				return c
			}
			gateway := dial()
			show := func(c net.Conn, token string, status int, closes bool) {
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n%s: %s\r\nX: %s\r\n\r\n", TokenHeader, token, strings.Repeat("a", 20<<10))
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || res.StatusCode != status || res.Close != closes {
					t.Fatal(res, err)
				}
			}
			ask := func() { show(gateway, "sesame", http.StatusNotFound, false) }
			ask()
			show(gateway, "no", http.StatusForbidden, false) // one of many clients' requests
			show(dial(), "no", http.StatusForbidden, true)
			<-noted
			<-noted
			const each = 30 << 10
			head := beginning + strings.Repeat("a", each)
			for range maxStrangers/(each-4<<10) + 2 { // 4 KiB of each are free
				_, _ = io.WriteString(dial(), head[:each])
			}
			select {
			case code := <-noted:
				if code != "too_many_connections" {
					t.Errorf("%s is noted", code)
				}
			case <-time.After(time.Minute):
				t.Error("all of them are held")
			}
			ask()
		})
	}
}

// TestServeDrains answers who has asked when the end comes, and nobody after
// that.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	asked, decide := make(chan struct{}), make(chan struct{})
	config := Config{Authorize: func(ctx context.Context, _ proxy.Ask) proxy.Answer {
		close(asked)
		<-decide
		if ctx.Err() != nil {
			return proxy.Refusal(http.StatusServiceUnavailable, "signing_failed", ctx.Err().Error())
		}
		return granted()
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, func() Config { return config }) }()

	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + l.Addr().String() + "/ext-authz/chatgpt.com/")
		if err != nil {
			answered <- err.Error()
			return
		}
		response.Body.Close()
		answered <- response.Status
	}()
	<-asked
	cancel()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(decide)
	if got := <-answered; got != "200 OK" {
		t.Errorf("who had asked got %s", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
