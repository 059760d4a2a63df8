package proxy

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestOwnUserOnly serves a client of the proxy's own user, and refuses it where
// it is not among the users: nothing is signed, nothing reaches a server.
func TestOwnUserOnly(t *testing.T) {
	t.Parallel()
	own := uint32(os.Getuid())
	for _, test := range []struct {
		name   string
		users  access.Users
		edit   func(*Config)
		served bool
	}{
		{"own", access.Users{own}, nil, true},
		{"among others", access.Users{own + 1, own}, nil, true},
		{"another", access.Users{own + 1}, nil, false},
		{"nobody", access.Users{}, nil, false},
		{"another with a token", access.Users{own + 1}, func(c *Config) { c.Clients.Token = "token" }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, reached := countingBackend(t)
			p := startProxy(t, address, func(c *Config) {
				c.Clients.Users = test.users
				c.Upstream.ConnectTo["example.org:80"] = address
				if test.edit != nil {
					test.edit(c)
				}
			})
			for _, line := range []string{"CONNECT chatgpt.com:443", "CONNECT example.org:80", "GET http://example.org/"} {
				c := p.dial(t)
				for range 2 { // it is remembered, not forgotten
					c.Send(t, "%s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", line, proxytest.BasicAuth("user", "token"))
					if test.served {
						if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK && !strings.HasPrefix(line, "GET") {
							t.Errorf("%s: %s", line, res.Status)
						}
						break
					}
					res := c.Response(t, http.MethodGet)
					message := proxytest.WantRefusal(t, res, http.StatusForbidden, "foreign_user", "http_request_denied")
					for _, part := range []string{"user " + strconv.Itoa(int(own)), "clients.allow_uids", "clients.token"} {
						if !strings.Contains(message, part) {
							t.Errorf("no %q in %q", part, message)
						}
					}
					c = p.next(t, c, res)
				}
			}
			if n := reached.Load(); !test.served && n != 0 {
				t.Errorf("%d requests reached the server", n)
			}
		})
	}
}

// TestOwnUserOnlyOverSocket serves a client on a Unix socket: its mode says who
// may open it.
func TestOwnUserOnlyOverSocket(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "", func(c *Config) { c.Clients.Users = access.Users{} })
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve(l) }()
	t.Cleanup(func() {
		p.cutNow()
		<-served
	})
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := proxytest.NewRawConn(t, conn)
	c.Send(t, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	if res := c.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}
