//go:build linux && gateways

package integration

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// startTraefik has Traefik run deploy/traefik/dynamic.yaml, with a change to it.
func startTraefik(t *testing.T, g *gateway, change ...string) {
	t.Helper()
	traefik, err := filepath.Abs(filepath.Join("clients", "bin", "traefik"))
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(traefik) {
		t.Fatalf("%s is missing; run make gateways", traefik)
	}
	dynamic, static := filepath.Join(g.dir, "dynamic.yaml"), filepath.Join(g.dir, "traefik.yaml")
	writeFile(t, dynamic, []byte(deployed(t, "traefik/dynamic.yaml", append([]string{
		"127.0.0.1:9090", g.authz,
		"X-Agentproxy-Token: TOKEN", "X-Agentproxy-Token: " + g.token,
		"https://chatgpt.com:443", "https://" + g.fixture.backend.Addr(),
		deployedAllowed, g.allowed,
		"/etc/traefik/gateway.pem", g.cert,
		"/etc/traefik/gateway-key.pem", g.key,
		"/etc/ssl/certs/ca-certificates.crt", g.upstreamCA(),
	}, change...)...)))
	writeFile(t, static, fmt.Appendf(nil, `entryPoints: {websecure: {address: %q}}
providers: {file: {filename: %q}}
global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: INFO}
`, g.addr, dynamic))
	g.deaf = true
	g.start(t, traefik, "--configFile="+static)
	// It listens before it has read the routes.
	client := g.client(t, "h1", "127.0.0.1")
	eventually(t, "Traefik knows the route", func() bool {
		r, err := client.Get("https://" + gatewayName + notThere)
		if err != nil {
			return false // it has no certificate yet
		}
		defer r.Body.Close()
		return r.StatusCode != http.StatusNotFound || r.Header.Get("X-Content-Type-Options") == ""
	})
	g.fixture.backend.ResetRequests()
}

// labelByAddress is what docs/gateway.md says of labels.
var labelByAddress = []string{"          X-Agentproxy-Label: traefik\n", ""}

// TestRealTraefik has Traefik do what TestTraefik plays.
func TestRealTraefik(t *testing.T) {
	behaves(t, "X-Forwarded-For", func(t *testing.T, g *gateway) { startTraefik(t, g, labelByAddress...) })
	t.Run("one label", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		startTraefik(t, g)
		for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
			response := g.ask(t, g.client(t, "h2", from), "GET", "/backend-api/test/echo", nil, "X-Agentproxy-Label", from)
			if body := bodyOf(t, response); response.StatusCode != 200 {
				t.Fatalf("%s %s", response.Status, body)
			}
		}
		if got := tasks(g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)); len(got) != 2 || got[0] != got[1] {
			t.Errorf("the tasks were %q", got)
		}
	})
	t.Run("question", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		questions := make(chan *http.Request, 1)
		authz := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Forwarded-Uri") == notThere {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			questions <- r
		}))
		defer authz.Close()
		g.authz = authz.Listener.Addr().String()
		startTraefik(t, g)
		r := clientRequest("POST", "/backend-api/a%2Fb/c?x=a%20b&y=%2f")
		maps.Copy(r.header, http.Header{
			"X-Forwarded-For": {"192.0.2.1", "192.0.2.2"}, "X-Forwarded-Uri": {"/other"}, "X-Forwarded-Method": {"PUT"}, "X-Forwarded-Host": {"example.org"},
			"X-Forwarded-Server": {"example.org"}, "X-Forwarded-Port": {"1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Prefix": {"/other"},
			"X-Forwarded-Tls-Client-Cert": {"x"}, "X-Forwarded-Tls-Client-Cert-Info": {"x"}, "X-Forwarded-Other": {"x"}, "X-Real-Ip": {"192.0.2.3"},
			"X_Forwarded_For": {"192.0.2.4"}, "x_real-ip": {"192.0.2.4"}, "X_Forwarded_Uri": {"/other"}, "Forwarded": {"for=192.0.2.5"},
			"Connection": {"X-Agentproxy-Token"}, "X-Agentproxy-Token": {"guess"}, "Te": {"trailers"}, "User-Agent": {"client"}, "Accept-Encoding": {"gzip"},
		})
		client := g.client(t, "h1", "127.0.0.1")
		response, err := client.Do((&http.Request{
			Method: r.method, Header: r.header.Clone(), Host: gatewayName,
			URL: &url.URL{Scheme: "https", Host: gatewayName, Opaque: "//" + gatewayName + r.path},
		}).WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if len(questions) == 0 {
			t.Fatalf("Traefik does not ask, and answers %s", response.Status)
		}
		var want *http.Request
		for _, m := range g.traefik(t).middlewares {
			if m.Headers != nil && want == nil {
				for name, value := range m.Headers.CustomRequestHeaders {
					r.header.Set(name, value)
				}
			}
			if m.ForwardAuth != nil {
				want = m.question(t, r)
			}
		}
		got := <-questions
		if got.Method != want.Method || got.URL.Path != want.URL.Path {
			t.Errorf("Traefik asks %s %s, and is played to ask %s %s", got.Method, got.URL.Path, want.Method, want.URL.Path)
		}
		names := maps.Clone(got.Header)
		maps.Copy(names, want.Header)
		for name := range names {
			if !slices.Equal(got.Header[name], want.Header[name]) {
				t.Errorf("%s: Traefik asks with %q, and is played to ask with %q", name, got.Header[name], want.Header[name])
			}
		}

		// What it does to a path it does before it asks.
		for _, path := range []string{"/backend-api//a///b", "/backend-api/a/../b", "/backend-api/./a%2e%2e/b", "/backend-api/a;b?c;d", "/backend-api/a%5cb"} {
			g.fixture.backend.ResetRequests()
			response, err := client.Do((&http.Request{
				Method: "GET", Header: make(http.Header), Host: gatewayName,
				URL: &url.URL{Scheme: "https", Host: gatewayName, Opaque: "//" + gatewayName + path},
			}).WithContext(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if len(questions) == 0 {
				continue
			}
			asked := (<-questions).Header.Get("X-Forwarded-Uri")
			for _, r := range g.fixture.backend.Requests() {
				if r.RequestURI != asked {
					t.Errorf("%s: Traefik asks for %s, and sends %s", path, asked, r.RequestURI)
				}
			}
		}
	})
}

// notThere is asked for until the gateway knows its routes.
const notThere = "/not-there"
