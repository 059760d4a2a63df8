package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// counters is what a client has under way: WebSockets, HTTP/2 streams in both
// directions and tunnels, all of which count until they are stopped or cut.
type counters struct {
	begun   chan struct{} // gets a value of each that works
	stopped chan struct{}
	running sync.WaitGroup

	mu    sync.Mutex
	cut   map[string]int // by kind
	wrong []string       // what came back
}

// run sends the numbers from 0 and wants each back before the next.
func (c *counters) run(kind string, send func(string) error, receive func() (string, error)) {
	c.running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-c.stopped:
				return
			default:
			}
			line, back := fmt.Sprintf("%d\n", i), ""
			err := send(line)
			if err == nil {
				back, err = receive()
			}
			c.mu.Lock()
			switch {
			case err != nil:
				c.cut[kind]++
			case back != line:
				c.wrong = append(c.wrong, fmt.Sprintf("%s: %q came back for %q", kind, back, line))
			}
			c.mu.Unlock()
			if err != nil || back != line {
				return
			}
			if i == 0 {
				c.begun <- struct{}{}
			}
		}
	})
}

func (c *counters) cuts() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.cut {
		n += k
	}
	return n
}

const eachKind = 8 / lighter

func startCounters(t *testing.T, p *testProxy, label, token, tunnelTo string) *counters {
	t.Helper()
	c := &counters{stopped: make(chan struct{}), cut: make(map[string]int), begun: make(chan struct{}, 3*eachKind)}
	user := url.UserPassword(label, token)
	h1, h2 := p.clientAs(t, proxytest.H1, user), p.clientAs(t, proxytest.H2, user)
	h1.Timeout, h2.Timeout = 0, 0
	for range eachKind {
		socket, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: h1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socket.CloseNow() })
		c.run("websocket", func(line string) error {
			return socket.Write(t.Context(), websocket.MessageText, []byte(line))
		}, func() (string, error) {
			_, b, err := socket.Read(t.Context())
			return string(b), err
		})

		r, w := io.Pipe()
		t.Cleanup(func() { w.Close() })
		res := proxytest.Do(t, h2, proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/echo", r))
		lines := bufio.NewReader(res.Body)
		c.run("stream", func(line string) error { _, err := io.WriteString(w, line); return err },
			func() (string, error) { return lines.ReadString('\n') })

		conn := p.dial(t)
		conn.Send(t, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %s\r\n\r\n", tunnelTo, proxytest.BasicAuth(label, token))
		if res := conn.Response(t, http.MethodConnect); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		c.run("tunnel", func(line string) error {
			_ = conn.SetDeadline(time.Now().Add(proxytest.Patience)) // for each, however many there are
			_, err := io.WriteString(conn, line)
			return err
		}, func() (string, error) { return conn.R.ReadString('\n') })
	}
	return c
}

// TestCutByGrounds takes away the grounds of what one label has under way, each in its
// way. That ends, with the reason in the log, and another label's loses not a byte. A
// reload that changes nothing for them cuts nothing.
func TestCutByGrounds(t *testing.T) {
	t.Parallel()
	const all, tunnels = 3 * eachKind, eachKind
	elsewhere := proxytest.Host + ":444"
	of := func(label string) Profile {
		pattern, err := access.ParseLabelPattern(label)
		if err != nil {
			t.Fatal(err)
		}
		return Profile{Name: label, Labels: access.LabelPatterns{pattern}, Signer: proxytest.FixedSigner{Auth: proxytest.Bearer()}, ConnectionsPerLabel: 1000,
			OtherHosts: OtherHosts{Ports: hosts.PortRanges{{First: 1, Last: 65535}}}}
	}
	for name, test := range map[string]struct {
		change func(c *Config, write func(lines string))
		cut    int
		logged string
	}{
		"nothing but the scope": {func(c *Config, _ func(string)) {
			c.Scope = scopeOf(t, signer.ScopeEntry{Word: signer.WordAll})
		}, 0, ""},
		"token removed": {func(_ *Config, write func(string)) { write("stays:b\n") }, all, "not be let in any more"},
		"token rotated": {func(_ *Config, write func(string)) { write("stays:b\ngone:c\n") }, all, "not be let in any more"},
		"profile refused": {func(c *Config, _ func(string)) {
			c.Profiles[0].Refuse = true
		}, all, "label_refused"},
		"hosts of the profile": {func(c *Config, _ func(string)) {
			c.Profiles[0].Hosts = patterns(t, elsewhere)
		}, all - tunnels, "host_refused"},
		"other hosts": {func(c *Config, _ func(string)) {
			c.Profiles[0].OtherHosts.Refuse = true
		}, tunnels, "host_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					echoWebSocket(t, w, r)
					return
				}
				_ = http.NewResponseController(w).EnableFullDuplex()
				_ = http.NewResponseController(w).Flush()
				b := make([]byte, 1000)
				for {
					n, err := r.Body.Read(b)
					if _, werr := w.Write(b[:n]); werr != nil || err != nil {
						return
					}
					_ = http.NewResponseController(w).Flush()
				}
			})
			path := filepath.Join(t.TempDir(), "tokens")
			write := func(lines string) {
				if err := safefile.Write(path, []byte(lines), 0o600); err != nil { // never half of it
					t.Error(err)
				}
			}
			write("stays:b\ngone:a\n")
			file, err := access.OpenTokenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const to = "tunnel.example:7"
			var config Config
			p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
				c.Clients = access.Config{Tokens: file}
				c.Upstream.ConnectTo[to] = proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
				c.Profiles = []Profile{of("gone"), of("stays")}
				config = *c
			})
			gone, stays := startCounters(t, p, "gone", "a", to), startCounters(t, p, "stays", "b", to)
			for range 3 * eachKind {
				proxytest.Wait(t, "it counts", gone.begun)
				proxytest.Wait(t, "it counts", stays.begun)
			}
			config.Profiles = []Profile{of("gone"), of("stays")}
			test.change(&config, write)
			if !strings.HasPrefix(name, "token") { // which nobody reloads for
				p.Reconfigure(config)
			}
			proxytest.Eventually(t, func() error {
				if n := gone.cuts(); n < test.cut {
					return fmt.Errorf("%d were cut, want %d", n, test.cut)
				}
				return nil
			})
			proxytest.Eventually(t, func() error {
				if n := strings.Count(p.log.String(), test.logged+`"`); n < test.cut {
					return fmt.Errorf("%d are logged as cut, want %d", n, test.cut)
				}
				return nil
			})
			if test.cut == 0 {
				for range 6 { // and the watcher looks a few times
					p.cutRevoked()
				}
			}
			close(stays.stopped)
			close(gone.stopped)
			stays.running.Wait()
			gone.running.Wait()
			if n := gone.cuts(); n != test.cut {
				t.Errorf("%d were cut, want %d: %v", n, test.cut, gone.cut)
			}
			if n := stays.cuts(); n != 0 {
				t.Errorf("%d of the other label were cut: %v", n, stays.cut)
			}
			for _, wrong := range append(stays.wrong, gone.wrong...) {
				t.Error(wrong)
			}
			if n := strings.Count(p.log.String(), "cut because"); n != test.cut {
				t.Errorf("%d are logged as cut, want %d", n, test.cut)
			}
		})
	}
}
