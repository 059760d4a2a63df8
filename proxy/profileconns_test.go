package proxy

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// exchangesEach is how many requests each of the six clients of [TestProfilesShareNoConnection]
// sends. make attacks has it send more.
var exchangesEach = flag.Int("exchanges", 150/lighter, "requests of each client of TestProfilesShareNoConnection") // some fourteen of each way to lose step, without the race detector

// brokenServer answers over HTTP/1.1 and loses step with its clients in all the ways
// there are. It notes the credentials that come over each connection, and quotes the last
// one in what it sends.
type brokenServer struct {
	mu    sync.Mutex
	mixed []string // connections with the credentials of several
	seen  map[string]int
}

func (s *brokenServer) serve(c *tls.Conn) {
	r := bufio.NewReader(c)
	first := ""
	for {
		// The head alone: a body that it ignores is the next request to it.
		credential, head := "", ""
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head += line
			if value, ok := strings.CutPrefix(line, "Authorization: "); ok {
				credential = strings.TrimSpace(value)
			}
			if line == "\r\n" {
				break
			}
		}
		if credential != "" {
			s.mu.Lock()
			s.seen[credential]++
			if first == "" {
				first = credential
			}
			if credential != first {
				s.mixed = append(s.mixed, first+" and "+credential)
			}
			s.mu.Unlock()
		}
		quoted := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(credential), credential)
		answers := []string{
			quoted,
			quoted + quoted, // one that nobody asked for
			"HTTP/1.1 204 No Content\r\nContent-Length: " + fmt.Sprint(len(quoted)) + "\r\n\r\n" + quoted,
			"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n" + quoted,
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + quoted,
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + quoted,
			"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + quoted, // and nothing more
			"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
		}
		i := rand.IntN(len(answers) + 3)
		switch i - len(answers) {
		case 0: // no answer
			return
		case 1:
			_ = c.NetConn().(*net.TCPConn).SetLinger(0) // a reset, in the middle of an answer
			_, _ = io.WriteString(c, quoted[:len(quoted)/2])
			return
		case 2: // one that comes when the connection is kept already, or carries the next request
			_, _ = io.WriteString(c, quoted)
			time.Sleep(time.Millisecond)
			_, _ = io.WriteString(c, quoted)
			continue
		}
		if _, err := io.WriteString(c, answers[i]); err != nil || i == 6 {
			return
		}
	}
}

// TestProfilesShareNoConnection has clients of three profiles, over HTTP/1.1 and HTTP/2, ask a
// server that loses step with them. No connection to it carries two profiles' requests,
// and nothing of one reaches another.
func TestProfilesShareNoConnection(t *testing.T) {
	t.Parallel()
	each := *exchangesEach
	server := &brokenServer{seen: make(map[string]int)}
	address := proxytest.NewRawTLSServer(t, server.serve)
	credentials := map[string]string{"a": "Bearer of-profile-a", "b": "Bearer of-profile-b", "": "Bearer of-all-others"}
	config := Config{}
	p := startProxy(t, address, func(c *Config) {
		c.Signer = proxytest.FixedSigner{Auth: &signer.Authorization{Value: identity.Secret(credentials[""]), Scheme: signer.SchemeBearer}}
		for _, label := range []string{"a", "b"} {
			pattern, err := access.ParseLabelPattern(label)
			if err != nil {
				t.Fatal(err)
			}
			c.Profiles = append(c.Profiles, Profile{Name: label, Labels: access.LabelPatterns{pattern}, ConnectionsPerLabel: 1000,
				Signer: proxytest.FixedSigner{Auth: &signer.Authorization{Value: identity.Secret(credentials[label]), Scheme: signer.SchemeBearer}}})
		}
		config = *c
	})
	var clients sync.WaitGroup
	var exchanges atomic.Int64
	for label := range credentials {
		for _, proto := range []string{proxytest.H1, proxytest.H2} {
			client := p.clientAs(t, proto, url.User(label))
			clients.Go(func() {
				for i := range each {
					method, body := http.MethodGet, ""
					switch i % 3 {
					case 1:
						method = http.MethodHead
					case 2:
						method, body = http.MethodPost, "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
					}
					req, err := http.NewRequestWithContext(t.Context(), method, proxytest.Origin+"/", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					exchanges.Add(1)
					res, err := client.Do(req)
					if err != nil {
						continue
					}
					got, _ := io.ReadAll(res.Body)
					res.Body.Close()
					for other, credential := range credentials {
						if other != label && strings.Contains(string(got), strings.TrimPrefix(credential, "Bearer ")) {
							t.Errorf("label %q over %s got %q", label, proto, got)
						}
					}
					if i == each/2 && label == "a" { // a reload keeps them apart, too
						p.Reconfigure(config)
					}
				}
			})
		}
	}
	clients.Wait()
	t.Logf("%d exchanges", exchanges.Load())
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, mixed := range server.mixed {
		t.Errorf("one connection carried %s", mixed)
	}
	if len(server.seen) != len(credentials) {
		t.Errorf("the server saw %v", server.seen)
	}
}

// TestProfilesKeepTheirConnections: a reload that reaches servers in the same way changes
// nothing for a profile's connections.
func TestProfilesKeepTheirConnections(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })
	var config Config
	pattern, err := access.ParseLabelPattern("a")
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Profiles = []Profile{{Name: "a", Labels: access.LabelPatterns{pattern}, Signer: c.Signer, ConnectionsPerLabel: 10}}
		config = *c
	})
	from := func(label string) string {
		return proxytest.ReadAll(t, proxytest.Get(t, p.clientAs(t, proxytest.H1, url.User(label)), proxytest.Origin+"/").Body)
	}
	own, common := from("a"), from("b")
	if own == common {
		t.Error("two profiles share a connection")
	}
	<-p.Reconfigure(config)
	if from("a") != own || from("b") != common {
		t.Error("a reload has changed the connections")
	}
}

// TestDoubtfulEndOfOthers has clients whose requests net/http sends to servers of HTTP/1.1: the
// first one over HTTP/2, and all for http:// URLs. It keeps none of their connections, for it
// would hand one to the next request before it sees what else the server has sent. Those that
// are kept for clients over HTTP/2 are not used again after a response that says of a body
// that it cannot have.
func TestDoubtfulEndOfOthers(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/204": "204 No Content\r\nContent-Length: 5\r\n\r\n", "/304": "304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
		"/head": "200 OK\r\nContent-Length: 5\r\n\r\n", "/plain": "200 OK\r\nContent-Length: 2\r\n\r\nok", "/none": "204 No Content\r\n\r\n",
	}
	serve := func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, strings.Replace("HTTP/1.1 "+answers[req.URL.Path], "\r\n", "\r\nX-From: "+c.RemoteAddr().String()+"\r\n", 1))
		}
	}
	for _, kind := range []string{"h2", "http"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			plain := proxytest.NewRawServer(t, serve)
			p := startProxy(t, proxytest.NewRawTLSServer(t, func(c *tls.Conn) { serve(c) }), func(c *Config) { c.Upstream.ConnectTo["a.example:80"] = plain })
			origin, client := proxytest.Origin, p.client(t, proxytest.H2)
			if kind == "http" {
				origin, client = "http://a.example", p.client(t, proxytest.H1)
			}
			from := func(path string) string {
				t.Helper()
				method := http.MethodGet
				if path == "/head" {
					method = http.MethodHead
				}
				res := proxytest.Do(t, client, proxytest.NewRequest(t, method, origin+path, nil))
				_, _ = io.Copy(io.Discard, res.Body) // of which the length may be wrong
				return res.Header.Get("X-From")
			}
			if first := from("/plain"); from("/plain") == first {
				t.Error("net/http has kept a connection")
			}
			for _, test := range []struct {
				path string
				kept bool
			}{{"/plain", true}, {"/none", true}, {"/204", false}, {"/304", false}, {"/head", false}} {
				if kept := from(test.path) == from("/plain"); kept != (test.kept && kind == "h2") {
					t.Errorf("after %s the connection is used again: %t", test.path, kept)
				}
			}
		})
	}
}
