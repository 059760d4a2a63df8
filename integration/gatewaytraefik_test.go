//go:build linux

package integration

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// Building Traefik takes minutes: make gateways has it do what is played here by what it
// does with the middlewares, on the configuration in deploy/traefik.

// traefikFile is what deploy/traefik/dynamic.yaml has, and nothing else.
type traefikFile struct {
	HTTP struct {
		Routers map[string]struct {
			Rule        string
			EntryPoints []string `yaml:"entryPoints"`
			Service     string
			Middlewares []string
			TLS         struct{}
		}
		Middlewares map[string]traefikMiddleware
		Services    map[string]struct {
			LoadBalancer struct {
				PassHostHeader     bool   `yaml:"passHostHeader"`
				ServersTransport   string `yaml:"serversTransport"`
				ResponseForwarding struct {
					FlushInterval string `yaml:"flushInterval"`
				} `yaml:"responseForwarding"`
				Servers []struct{ URL string }
			} `yaml:"loadBalancer"`
		}
		ServersTransports map[string]struct {
			ServerName string   `yaml:"serverName"`
			RootCAs    []string `yaml:"rootCAs"`
		} `yaml:"serversTransports"`
	}
	TLS struct {
		Certificates []struct {
			CertFile string `yaml:"certFile"`
			KeyFile  string `yaml:"keyFile"`
		}
	}
}

type traefikMiddleware struct {
	IPAllowList *struct {
		SourceRange []string `yaml:"sourceRange"`
	} `yaml:"ipAllowList"`
	Headers *struct {
		CustomRequestHeaders map[string]string `yaml:"customRequestHeaders"`
	}
	ForwardAuth *struct {
		Address             string
		TrustForwardHeader  bool     `yaml:"trustForwardHeader"`
		AuthResponseHeaders []string `yaml:"authResponseHeaders"`
	} `yaml:"forwardAuth"`
}

// traefikRoute is a router with what it names.
type traefikRoute struct {
	middlewares []traefikMiddleware
	server      string
}

// traefik reads deploy/traefik/dynamic.yaml.
func (g *gateway) traefik(t *testing.T) traefikRoute {
	t.Helper()
	content := deployed(t, "traefik/dynamic.yaml", "127.0.0.1:9090", g.authz, "X-Agentproxy-Token: TOKEN", "X-Agentproxy-Token: "+g.token)
	var file traefikFile
	if err := yaml.UnmarshalWithOptions([]byte(content), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	router := file.HTTP.Routers["chatgpt"]
	var route traefikRoute
	for _, name := range router.Middlewares {
		middleware, ok := file.HTTP.Middlewares[name]
		if !ok {
			t.Fatalf("there is no middleware %s", name)
		}
		route.middlewares = append(route.middlewares, middleware)
	}
	service := file.HTTP.Services[router.Service].LoadBalancer
	transport, ok := file.HTTP.ServersTransports[service.ServersTransport]
	if !ok || transport.ServerName != "chatgpt.com" || !service.PassHostHeader || len(service.Servers) != 1 {
		t.Fatalf("service %+v, transport %+v", service, transport)
	}
	route.server = service.Servers[0].URL
	return route
}

// check plays the middlewares on a request, up to the one that refuses it.
func (route traefikRoute) check(t *testing.T, r pending) verdict {
	t.Helper()
	for _, middleware := range route.middlewares {
		switch {
		case middleware.Headers != nil:
			for name, value := range middleware.Headers.CustomRequestHeaders {
				r.header.Del(name)
				if value != "" {
					r.header.Set(name, value)
				}
			}
		case middleware.ForwardAuth != nil:
			if refused := middleware.ask(t, r); refused.status != 0 {
				return refused
			}
		}
	}
	return verdict{}
}

// traefikDrops are the client's fields that are not in the question, in any spelling.
var traefikDrops = []string{
	"Connection", "Keep-Alive", "Te", "Trailers", "Transfer-Encoding", "Upgrade", "X-Real-Ip",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto",
	"X-Forwarded-Server", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-Forwarded-Uri",
}

// question returns what ForwardAuth asks for a client of 127.0.0.1. TestRealTraefik holds
// it to Traefik 3.7.
func (m traefikMiddleware) question(t *testing.T, r pending) *http.Request {
	t.Helper()
	if m.ForwardAuth.TrustForwardHeader {
		t.Error("a client can say which request it asks for")
	}
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.ForwardAuth.Address, nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.Header = r.header.Clone()
	for name := range ask.Header {
		if slices.Contains(traefikDrops, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(ask.Header, name)
		}
	}
	for name, value := range map[string]string{
		"X-Forwarded-Method": r.method, "X-Forwarded-Uri": r.path, "X-Forwarded-Proto": "https", "X-Forwarded-Host": gatewayName, "X-Forwarded-Port": "443", "X-Forwarded-For": "127.0.0.1",
	} {
		ask.Header.Set(name, value)
	}
	return ask
}

// ask plays ForwardAuth.
func (m traefikMiddleware) ask(t *testing.T, r pending) verdict {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	got, err := transport.RoundTrip(m.question(t, r))
	if err != nil {
		return verdict{http.StatusInternalServerError, err.Error()}
	}
	defer got.Body.Close()
	body := bodyOf(t, got)
	if got.StatusCode < 200 || got.StatusCode > 299 {
		return verdict{got.StatusCode, body}
	}
	for _, name := range m.ForwardAuth.AuthResponseHeaders {
		r.header.Del(name)
		for _, value := range got.Header.Values(name) {
			r.header.Add(name, value)
		}
	}
	return verdict{}
}

// TestTraefik has Traefik's middlewares, played on the configuration in
// deploy/traefik, ask and do as they are told.
func TestTraefik(t *testing.T) {
	t.Parallel()
	t.Run("signs", func(t *testing.T) {
		t.Parallel()
		for use, scheme := range map[string]string{"agent-assertion": chatgpttest.SchemeAgentAssertion, "bearer": chatgpttest.SchemeBearer} {
			g := newGateway(t, fixtureConfig{yaml: "signer: {use: " + use + "}"})
			route := g.traefik(t)
			r := clientRequest("POST", "/backend-api/a%2Fb//c?x=a%20b")
			r.header.Set("X-Forwarded-Uri", "/other")
			r.header.Set("X-Agentproxy-Token", "guess")
			if got := route.check(t, r); got.status != 0 {
				t.Fatalf("%+v", got)
			}
			if r.header.Get("Host") != "chatgpt.com" || route.server != "https://chatgpt.com:443" {
				t.Errorf("it goes to %s as %q", route.server, r.header.Get("Host"))
			}
			r.header.Del("Host")
			g.send(t, r)
			requests := g.fixture.checkSigned(t, scheme)
			g.checkClean(t, requests)
			for _, r := range requests {
				if r.Header["X-Agentproxy-Token"] != nil || r.Header["X-Agentproxy-Label"] != nil {
					t.Errorf("the backend got %v", r.Header)
				}
			}
		}
	})
	t.Run("labels by address", func(t *testing.T) {
		t.Parallel()
		g := newLabelledGateway(t, fixtureConfig{yaml: "signer: {use: agent-assertion}"}, "X-Forwarded-For")
		r := clientRequest("GET", "/backend-api/x")
		r.header["X-Forwarded-For"] = []string{"192.0.2.1", "192.0.2.2, 192.0.2.3"}
		r.header.Set("X-Real-Ip", "192.0.2.4")
		if got := g.traefik(t).check(t, r); got.status != 0 {
			t.Fatalf("%+v", got)
		}
		tasks := readFile(t, filepath.Join(g.fixture.stateDir, "tasks.json"))
		if !strings.Contains(tasks, `"127.0.0.1"`) || strings.Contains(tasks, "192.0.2.") {
			t.Errorf("the sessions are not those of the client's address: %s", tasks)
		}
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{yaml: "signer: {use: token, token_file: /no/such/token}"})
		if got := g.traefik(t).check(t, clientRequest("GET", "/")); got.status != 503 || !strings.Contains(got.body, `"code":"token_missing"`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("refuses with another token", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		g.token = "another-token"
		if got := g.traefik(t).check(t, clientRequest("GET", "/")); got.status != 403 {
			t.Errorf("%+v", got)
		}
	})
}
