package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestRevocationCuts takes one client's right away while streams, WebSockets and
// tunnels of two are under way. Those of the one end, and those of the other go on.
func TestRevocationCuts(t *testing.T) {
	t.Parallel()
	for name, ground := range map[string]func(t *testing.T, c *Config) (tokens map[string]string, end func(p *testProxy)){
		"removed from the tokens file": func(t *testing.T, c *Config) (map[string]string, func(*testProxy)) {
			path := filepath.Join(t.TempDir(), "tokens")
			write := func(lines string) {
				if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
					t.Error(err)
				}
			}
			write("gone:a\nstays:b\n")
			file, err := access.OpenTokenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c.Clients = access.Config{Tokens: file}
			return map[string]string{"gone": "a", "stays": "b"}, func(*testProxy) { write("stays:b\n") }
		},
		"revoked": func(t *testing.T, c *Config) (map[string]string, func(*testProxy)) {
			tokens := issued.Open(t.TempDir(), time.Now, func(err error) { t.Error(err) })
			c.Clients = access.Config{Issued: tokens, IssuedOnly: true}
			gone, _, err := tokens.Issue(t.Context(), "gone", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			stays, _, err := tokens.Issue(t.Context(), "stays", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{"gone": gone, "stays": stays}, func(*testProxy) {
				if err := tokens.RevokeLabel(t.Context(), "gone"); err != nil {
					t.Error(err)
				}
			}
		},
		"expired": func(t *testing.T, c *Config) (map[string]string, func(*testProxy)) {
			var ahead atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			tokens := issued.Open(t.TempDir(), now, func(err error) { t.Error(err) })
			c.Clients = access.Config{Issued: tokens, IssuedOnly: true}
			stays, _, err := tokens.Issue(t.Context(), "stays", 10*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			gone, _, err := tokens.Issue(t.Context(), "gone", time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return map[string]string{"gone": gone, "stays": stays}, func(*testProxy) { ahead.Store(int64(2 * time.Hour)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					echoWebSocket(t, w, r)
					return
				}
				for r.Context().Err() == nil { // a stream without an end
					fmt.Fprintln(w, "data: x")
					if http.NewResponseController(w).Flush() != nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			})
			echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			var tokens map[string]string
			var end func(*testProxy)
			p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
				c.Upstream.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				tokens, end = ground(t, c)
			})

			// ways returns what a client has under way: each reports whether it still is,
			// once something has come that was sent after it was asked.
			ways := func(label string) map[string]func() error {
				user := url.UserPassword(label, tokens[label])
				open := make(map[string]func() error)
				for _, proto := range []string{proxytest.H1, proxytest.H2} {
					c := p.clientAs(t, proto, user)
					c.Timeout = 0
					res := proxytest.Do(t, c, proxytest.NewRequest(t, "GET", proxytest.Origin+"/stream", nil))
					if res.StatusCode != http.StatusOK {
						t.Fatalf("%s of %s: %s", proto, label, res.Status)
					}
					lines := bufio.NewReader(res.Body)
					open[proto] = func() error { _, err := lines.ReadString('\n'); return err }
				}
				c := p.clientAs(t, proxytest.H1, user)
				c.Timeout = 0
				socket, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: c})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { socket.CloseNow() })
				open["websocket"] = func() error {
					if err := socket.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
						return err
					}
					_, _, err := socket.Read(t.Context())
					return err
				}
				conn := p.dial(t)
				conn.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %s\r\n\r\n", echo, proxytest.BasicAuth(label, tokens[label]))
				if res := conn.Response(t, "CONNECT"); res.StatusCode != http.StatusOK {
					t.Fatalf("tunnel of %s: %s", label, res.Status)
				}
				open["tunnel"] = func() error {
					if _, err := conn.Write([]byte("x")); err != nil {
						return err
					}
					_, err := io.ReadFull(conn.R, make([]byte, 1))
					return err
				}
				return open
			}
			gone, stays := ways("gone"), ways("stays")
			for _, all := range []map[string]func() error{gone, stays} {
				for way, more := range all {
					if err := more(); err != nil {
						t.Fatalf("%s at first: %v", way, err)
					}
				}
			}
			end(p)
			for way, more := range gone {
				proxytest.Eventually(t, func() error {
					if more() == nil {
						return errors.New(way + " goes on")
					}
					return nil
				})
			}
			for way, more := range stays {
				if err := more(); err != nil {
					t.Errorf("%s of the other: %v", way, err)
				}
			}
			p.logged(t, "cut because the client would not be let in any more")
			if n := strings.Count(p.log.String(), "cut because"); n != len(gone) {
				t.Errorf("%d exchanges were cut, want %d", n, len(gone))
			}
		})
	}
}
