package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/audit"
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
				if err := safefile.Write(path, []byte(lines), 0o600); err != nil { // never half of it
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
				for i := 0; r.Context().Err() == nil; i++ { // a stream without an end
					fmt.Fprintln(w, "data:", i)
					if http.NewResponseController(w).Flush() != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
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
			ways := func(label string, i int, open map[string]func() error) {
				user := url.UserPassword(label, tokens[label])
				name := func(way string) string { return fmt.Sprint(way, " ", i) }
				for _, proto := range []string{proxytest.H1, proxytest.H2} {
					c := p.clientAs(t, proto, user)
					c.Timeout = 0
					res := proxytest.Do(t, c, proxytest.NewRequest(t, "GET", proxytest.Origin+"/stream", nil))
					if res.StatusCode != http.StatusOK {
						t.Fatalf("%s of %s: %s", proto, label, res.Status)
					}
					lines := bufio.NewReader(res.Body)
					next := 0
					open[name(proto)] = func() error {
						line, err := lines.ReadString('\n')
						if err == nil && line != fmt.Sprintln("data:", next) {
							t.Errorf("%s of %s: %q where data: %d is due", proto, label, line, next)
						}
						next++
						return err
					}
				}
				c := p.clientAs(t, proxytest.H1, user)
				c.Timeout = 0
				socket, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: c})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { socket.CloseNow() })
				open[name("websocket")] = func() error {
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
				open[name("tunnel")] = func() error {
					_ = conn.SetDeadline(time.Now().Add(proxytest.Patience)) // there are many before it
					if _, err := conn.Write([]byte("x")); err != nil {
						return err
					}
					_, err := io.ReadFull(conn.R, make([]byte, 1))
					return err
				}
			}
			n := 1
			if strings.HasPrefix(name, "removed") {
				n = 25 / lighter // two hundred in all without the race detector
			}
			gone, stays := make(map[string]func() error), make(map[string]func() error)
			for i := range n {
				ways("gone", i, gone)
				ways("stays", i, stays)
			}
			for _, all := range []map[string]func() error{gone, stays} {
				for way, more := range all {
					if err := more(); err != nil {
						t.Fatalf("%s at first: %v", way, err)
					}
				}
			}
			end(p)
			ended := time.Now()
			proxytest.Eventually(t, func() error {
				if n := strings.Count(p.log.String(), "cut because the client would not be let in any more"); n < len(gone) {
					return fmt.Errorf("%d of %d are cut", n, len(gone))
				}
				return nil
			})
			t.Logf("%d of one label were cut within %s, %d of the other go on", len(gone), time.Since(ended).Round(time.Millisecond), len(stays))
			for way, more := range gone {
				for begun := time.Now(); more() == nil; { // what was on its way
					if time.Since(begun) > proxytest.Patience {
						t.Fatalf("%s goes on", way)
					}
				}
			}
			for way, more := range stays {
				if err := more(); err != nil {
					t.Errorf("%s of the other: %v", way, err)
				}
			}
			if n := strings.Count(p.log.String(), "cut because"); n != len(gone) {
				t.Errorf("%d exchanges were cut, want %d", n, len(gone))
			}
		})
	}
}

// cuttingAudit cuts what is revoked whenever it is told of a refusal.
type cuttingAudit struct{ proxy func() *testProxy }

func (a cuttingAudit) Audit(d audit.Decision) error {
	if d.Verdict == audit.VerdictRefuse {
		a.proxy().cutRevoked()
	}
	return nil
}

// TestRefusalIsNotCut tells a client that is not let in any more so, also if its tunnel is
// looked at meanwhile.
func TestRefusalIsNotCut(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		address, _ := countingBackend(t)
		var p *testProxy
		p = startProxy(t, address, func(c *Config) {
			c.Clients.Token, c.Audit = "sesame", cuttingAudit{func() *testProxy { return p }}
		})
		c := p.clientAs(t, proto, url.UserPassword("build", "sesame"))
		proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body)
		p.reconfigure(func(c *Config) { c.Clients.Token = "other" })
		proxytest.WantRefusal(t, proxytest.Get(t, c, proxytest.Origin+"/"), http.StatusForbidden, "no_longer_admitted", "http_request_denied")
	})
}
