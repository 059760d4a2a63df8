package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// reconfigure changes the configuration of a running proxy.
func (p *testProxy) reconfigure(edit func(*Config)) (released <-chan struct{}) {
	config := p.current().Config
	edit(&config)
	return p.Reconfigure(config)
}

func bearerOf(token string) proxytest.FixedSigner {
	return proxytest.FixedSigner{Auth: &signer.Authorization{Value: identity.Secret("Bearer " + token), Scheme: signer.SchemeBearer}}
}

func isOpen(c <-chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}

// TestReconfigure has another signer sign the next request of a connection that
// is kept, while the answer to the last still runs, and keeps the connections to
// the server.
func TestReconfigure(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		more, done := make(chan struct{}), make(chan struct{})
		var peers atomic.Pointer[[]string]
		peers.Store(new([]string))
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			seen := append(slices.Clone(*peers.Load()), r.RemoteAddr)
			peers.Store(&seen)
			_, _ = io.WriteString(w, r.Header.Get("Authorization")+"\n")
			if r.URL.Path == "/stream" {
				_ = http.NewResponseController(w).Flush()
				<-more
				_, _ = io.WriteString(w, "the end\n")
				close(done)
			}
		})
		p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = bearerOf("first") })
		c := p.client(t, client)
		stream := bufio.NewReader(proxytest.Get(t, c, proxytest.Origin+"/stream").Body)
		expectLine(t, stream, "Bearer first\n")

		released := p.reconfigure(func(c *Config) { c.Signer = bearerOf("second") })
		for range 3 {
			if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "Bearer second\n" {
				t.Errorf("the server saw %q", got)
			}
		}
		if !isOpen(released) {
			t.Error("the former configuration is said to be out of use while a stream goes by it")
		}
		close(more)
		<-done
		expectLine(t, stream, "the end\n")
		proxytest.Wait(t, "the former configuration is out of use", released)
		slices.Sort(*peers.Load())
		if n := len(slices.Compact(*peers.Load())); n > 2 { // over HTTP/1.1 the stream has one
			t.Errorf("the proxy came to the server on %d connections", n)
		}
	})
}

func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want || err != nil {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// TestReconfigureUpstream goes elsewhere for the next request, and closes what
// was idle.
func TestReconfigureUpstream(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		answer := func(text string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
		}
		second := proxytest.NewBackend(t, proto, answer("second"))
		first := httptest.NewUnstartedServer(answer("first"))
		first.TLS, first.EnableHTTP2 = proxytest.ServerTLS(), proto == proxytest.H2
		gone := make(chan struct{})
		first.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(gone) // there is one connection
			}
		}
		first.StartTLS()
		defer first.Close()
		p := startProxy(t, first.Listener.Addr().String())
		c := p.client(t, proto)
		if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "first" {
			t.Fatal(got)
		}
		released := p.reconfigure(func(c *Config) {
			c.Upstream.ConnectTo = map[string]string{proxytest.Host + ":443": second.Listener.Addr().String()}
		})
		if got := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); got != "second" {
			t.Errorf("the answer is from the %s", got)
		}
		proxytest.Wait(t, "the former configuration is out of use", released)
		proxytest.Wait(t, "the idle connection is closed", gone)
	})
}

// TestReconfigureRefuses has a tunnel that was opened earlier be of no more use
// than a new one would be.
func TestReconfigureRefuses(t *testing.T) {
	t.Parallel()
	tokens := func(lines ...string) func(*Config) {
		return func(c *Config) { c.Clients.Token, c.Clients.Tokens = "", openTokens(t, lines...) }
	}
	token := func(s string) func(*Config) {
		return func(c *Config) { c.Clients.Token, c.Clients.Tokens = s, nil }
	}
	hashed := "build:" + bcryptOf(t, "sesame")
	for _, test := range []struct {
		name          string
		before, after func(*Config)
		code          string // "": it is served as before
	}{
		{"same token", token("sesame"), token("sesame"), ""},
		{"another token", token("sesame"), token("other"), "no_longer_admitted"},
		{"a token where none was needed", token(""), token("sesame"), ""}, // the client showed it
		{"another token where none was needed", token(""), token("other"), "no_longer_admitted"},
		{"no token any more", token("sesame"), token(""), ""},
		{"same token in a file", token("sesame"), tokens("build:sesame"), ""},
		{"token of another label in a file", token("sesame"), tokens("night:sesame"), "no_longer_admitted"},
		{"token for all labels", tokens("build:sesame"), tokens("*:sesame"), ""},
		{"token removed", tokens("build:sesame"), tokens("night:sesame"), "no_longer_admitted"},
		{"token changed", tokens("build:sesame"), tokens("build:other"), "no_longer_admitted"},
		{"same hash", tokens(hashed), tokens("night:x", hashed), ""},
		{"hash removed", tokens(hashed), tokens("night:x"), "no_longer_admitted"},
		{"same hash for another", tokens(hashed), tokens("night" + hashed[len("build"):]), "no_longer_admitted"},
		{"another user's process", token(""), func(c *Config) { c.Clients.Users = access.Users{uint32(os.Getuid()) + 1} }, "no_longer_admitted"},
		{"host", token(""), func(c *Config) { c.Intercept = patterns(t, "other.example") }, "host_refused"},
		{"port", token(""), func(c *Config) { c.Intercept = patterns(t, proxytest.Host+":444") }, "host_refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				address, reached := countingBackend(t)
				p := startProxy(t, address, test.before)
				c := p.clientAs(t, proto, url.UserPassword("build", "sesame"))
				if body := proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/").Body); body != "" { // read, the connection is free again
					t.Fatal(body)
				}
				p.reconfigure(test.after)
				res := proxytest.Get(t, c, proxytest.Origin+"/")
				if test.code == "" {
					if res.StatusCode != http.StatusOK || reached.Load() != 2 {
						t.Errorf("%s, and %d requests reached the server", res.Status, reached.Load())
					}
					return
				}
				proxytest.WantRefusal(t, res, http.StatusForbidden, test.code, "http_request_denied")
				if n := reached.Load(); n != 1 {
					t.Errorf("%d requests reached the server", n)
				}
				if again, err := c.Do(proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)); err == nil && again.StatusCode == http.StatusForbidden {
					t.Error("the tunnel was not closed")
				}
			})
		})
	}
}

// TestReconfigureLimits counts those who are there already.
func TestReconfigureLimits(t *testing.T) {
	t.Parallel()
	p := echoing(t, access.Limits{ConnectionsPerLabel: 2})
	for range 2 {
		p.connectAs(t, "a", "tunnel.example:7")
	}
	refused := func(label string) {
		t.Helper()
		_, res := p.connectAs(t, label, "tunnel.example:7")
		proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "too_many_connections", "connection_limit_reached")
	}
	refused("a")
	p.reconfigure(func(c *Config) { c.Limits.ConnectionsPerLabel = 3 })
	if _, res := p.connectAs(t, "a", "tunnel.example:7"); res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
	refused("a")
	p.reconfigure(func(c *Config) { c.Limits.ConnectionsPerLabel = 1 })
	refused("a")
}

// TestReconfigureWhileServing changes everything that can be compared for races
// while requests run.
func TestReconfigureWhileServing(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address)
	stop := make(chan struct{})
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for i := 0; isOpen(stop); i++ {
			<-p.reconfigure(func(c *Config) {
				c.Limits.Connections = 1000 + i
				if i%2 == 0 {
					c.Upstream.AllowPrivate = nil
				} else {
					c.Upstream.AllowPrivate = append(c.Upstream.AllowPrivate, netip.MustParsePrefix("127.0.0.0/8"))
				}
			})
		}
	}()
	for range 10 {
		for _, proto := range []string{proxytest.H1, proxytest.H2} {
			if res := proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
		}
	}
	close(stop)
	<-changed
}
