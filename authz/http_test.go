package authz

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// answers is a stand-in for the decision. It remembers what it was asked.
type answers struct {
	asked  []proxy.Ask
	answer proxy.Answer
}

func (a *answers) authorize(_ context.Context, ask proxy.Ask) proxy.Answer {
	ask.Header, ask.Peer = nil, ""
	a.asked = append(a.asked, ask)
	return a.answer
}

func granted() proxy.Answer {
	return proxy.Answer{Status: http.StatusOK, Header: http.Header{"Authorization": {"AgentAssertion abc"}}}
}

// ask sends a request to the endpoint. header has a field a line.
func ask(config Config, method, uri, host, header string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.RequestURI, r.Host = uri, host
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	newServer(func() Config { return config }).ServeHTTP(w, r)
	return w
}

const loopback = "127.0.0.1:9090"

// TestDialects has each kind of gateway say which request it means, and refuses
// what is not said clearly.
func TestDialects(t *testing.T) {
	t.Parallel()
	const original = "X-Original-Method: POST\nX-Original-URI: /a%2Fb//c?d=e"
	const forwarded = "X-Forwarded-Method: POST\nX-Forwarded-Uri: /a%2Fb//c?d=e"
	want := proxy.Ask{Host: "chatgpt.com", Method: "POST", URI: "/a%2Fb//c?d=e"}
	labelled := want
	labelled.Label = "build-42"
	for _, test := range []struct {
		name, method, uri, header string
		want                      *proxy.Ask // nil: refused, and nobody was asked
	}{
		{"nginx", "GET", "/auth-request/chatgpt.com", original, &want},
		{"nginx, and what Traefik would say", "GET", "/auth-request/chatgpt.com", original + "\nX-Forwarded-Uri: /other\nX-Forwarded-Method: PUT", &want},
		{"nginx with a label", "GET", "/auth-request/chatgpt.com", original + "\nX-Label: build-42", &labelled},
		{"Caddy", "GET", "/forward-auth/chatgpt.com", forwarded, &want},
		{"Caddy, and what nginx would say", "GET", "/forward-auth/chatgpt.com", forwarded + "\nX-Original-URI: /other", &want},
		{"Caddy, with its client's query", "GET", "/forward-auth/chatgpt.com?d=e&f=/g", forwarded, &want},
		{"Traefik, another host of its own", "GET", "/forward-auth/chatgpt.com", forwarded + "\nX-Forwarded-Host: example.org", &want},
		{"Envoy", "POST", "/ext-authz/chatgpt.com/a%2Fb//c?d=e", "", &want},
		{"Envoy, and what others would say", "POST", "/ext-authz/chatgpt.com/a%2Fb//c?d=e", "X-Forwarded-Uri: /other\nX-Original-URI: /other", &want},
		{"Envoy with a label", "POST", "/ext-authz/chatgpt.com/a%2Fb//c?d=e", "x-label: build-42", &labelled},

		{"no URI", "GET", "/auth-request/chatgpt.com", "X-Original-Method: GET", nil},
		{"no method", "GET", "/auth-request/chatgpt.com", "X-Original-URI: /", nil},
		{"two URIs", "GET", "/auth-request/chatgpt.com", original + "\nX-Original-URI: /other", nil},
		{"two methods", "GET", "/forward-auth/chatgpt.com", forwarded + "\nX-Forwarded-Method: GET", nil},
		{"the URI of another gateway", "GET", "/forward-auth/chatgpt.com", original, nil},
		{"more than a host", "GET", "/forward-auth/chatgpt.com/", forwarded, nil},
		{"another host behind it", "GET", "/auth-request/chatgpt.com/example.org", original, nil},
		{"two labels", "GET", "/auth-request/chatgpt.com", original + "\nX-Label: a\nX-Label: b", nil},
		{"two labels in one", "GET", "/auth-request/chatgpt.com", original + "\nX-Label: a,b", nil},
		{"an unknown gateway", "GET", "/authorize/chatgpt.com", original, nil},
		{"an absolute URL", "GET", "http://127.0.0.1:9090/auth-request/chatgpt.com", original, nil},
		{"nothing", "GET", "/", original, nil},
		{"an asterisk", "OPTIONS", "*", original, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decided := &answers{answer: granted()}
			w := ask(Config{Authorize: decided.authorize, LabelHeader: "X-Label"}, test.method, test.uri, loopback, test.header)
			if test.want == nil {
				if w.Code < 400 || len(decided.asked) > 0 || w.Header()["Authorization"] != nil {
					t.Errorf("%d %v, asked %v", w.Code, w.Header(), decided.asked)
				}
				return
			}
			if diff := cmp.Diff([]proxy.Ask{*test.want}, decided.asked); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if w.Code != http.StatusOK || w.Header().Get("Authorization") != "AgentAssertion abc" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v", w.Code, w.Header())
			}
		})
	}
}

// TestLabelHeaderIsOptIn: no header is a label unless the configuration says so.
func TestLabelHeaderIsOptIn(t *testing.T) {
	t.Parallel()
	decided := &answers{answer: granted()}
	ask(Config{Authorize: decided.authorize}, "GET", "/ext-authz/chatgpt.com/", loopback, "X-Agentproxy-Label: admin\nX-Label: admin")
	if len(decided.asked) != 1 || decided.asked[0].Label != "" {
		t.Errorf("%+v", decided.asked)
	}
}

// TestAnswers has each kind of gateway get the answer in the form that it
// understands, and so that a refusal can be taken for nothing else.
func TestAnswers(t *testing.T) {
	t.Parallel()
	const header = "X-Original-Method: GET\nX-Original-URI: /\nX-Forwarded-Method: GET\nX-Forwarded-Uri: /"
	for _, test := range []struct {
		name, uri string
		refused   int // the status of a refusal that is 503
		remove    string
		inHeader  bool // the refusal's body too
	}{
		{"nginx", "/auth-request/chatgpt.com", 403, "", true},
		{"Traefik and Caddy", "/forward-auth/chatgpt.com", 503, "", false},
		{"Envoy", "/ext-authz/chatgpt.com/", 403, "chatgpt-account-id,x-openai-fedramp,x-openai-agent-assertion,x-openai-authorization", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decided := &answers{answer: granted()}
			w := ask(Config{Authorize: decided.authorize}, "GET", test.uri, loopback, header)
			if got := w.Header().Get("X-Envoy-Auth-Headers-To-Remove"); w.Code != 200 || got != test.remove {
				t.Errorf("%d, to be removed %q, want %q", w.Code, got, test.remove)
			}
			refusal := proxy.Refusal(http.StatusServiceUnavailable, "no_login", "nobody is logged in")
			decided.answer = refusal
			w = ask(Config{Authorize: decided.authorize}, "GET", test.uri, loopback, header)
			if w.Code != test.refused || w.Body.String() != string(refusal.Body) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			inHeader := w.Header().Get("X-Agentproxy-Refusal")
			if test.inHeader != (inHeader != "") || test.inHeader && !json.Valid([]byte(inHeader)) {
				t.Errorf("the refusal's header is %q", inHeader)
			}
			if w.Header()["Authorization"] != nil || w.Header()["X-Envoy-Auth-Headers-To-Remove"] != nil {
				t.Errorf("a refusal has %v", w.Header())
			}
		})
	}
}

// TestWhoMayAsk turns away everybody who does not show the token, and, where
// there is none, whatever a browser could send.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	free, locked := Config{}, Config{Token: "sesame"}
	for _, test := range []struct {
		name         string
		config       Config
		host, header string
		code         string // "" is let in
	}{
		{"an address", free, "127.0.0.1:9090", "", ""},
		{"an address of IPv6", free, "[::1]:9090", "", ""},
		{"localhost", free, "localhost:9090", "", ""},
		{"DNS rebinding", free, "rebound.evil.example:9090", "", "authz_browser"},
		{"DNS rebinding by a name of loopback", free, "127.0.0.1.evil.example", "", "authz_browser"},
		{"another address", free, "192.0.2.1:9090", "", "authz_browser"},
		{"no host", free, "", "", "authz_browser"},
		{"a page", free, "127.0.0.1:9090", "Sec-Fetch-Site: cross-site", "authz_browser"},
		{"a typed address", free, "127.0.0.1:9090", "Sec-Fetch-Site: none", "authz_browser"},
		{"a page's script", free, "127.0.0.1:9090", "Origin: http://127.0.0.1:9090", "authz_browser"},
		{"another user", Config{Users: access.Users{}}, "127.0.0.1:9090", "", "foreign_user"},

		{"the token", locked, "192.0.2.1:9090", "X-Agentproxy-Token: sesame", ""},
		{"the token, and the client's host and origin", locked, "gateway.example", "X-Agentproxy-Token: sesame\nOrigin: https://gateway.example", ""},
		{"no token", locked, "127.0.0.1:9090", "", "authz_token_required"},
		{"a wrong token", locked, "127.0.0.1:9090", "X-Agentproxy-Token: sesam", "authz_token_required"},
		{"a longer token", locked, "127.0.0.1:9090", "X-Agentproxy-Token: sesame2", "authz_token_required"},
		{"an empty token", locked, "127.0.0.1:9090", "X-Agentproxy-Token: ", "authz_token_required"},
		{"the client's token beside", locked, "127.0.0.1:9090", "X-Agentproxy-Token: x\nX-Agentproxy-Token: sesame", "authz_token_required"},
		{"a token of the client's kind", locked, "127.0.0.1:9090", "Authorization: Bearer sesame", "authz_token_required"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decided := &answers{answer: granted()}
			test.config.Authorize = decided.authorize
			w := ask(test.config, "GET", "/ext-authz/chatgpt.com/", test.host, test.header)
			if test.code == "" {
				if w.Code != http.StatusOK || len(decided.asked) != 1 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			if w.Code != http.StatusForbidden || len(decided.asked) > 0 || !strings.Contains(w.Body.String(), `"`+test.code+`"`) {
				t.Errorf("%d %s, asked %d times", w.Code, w.Body, len(decided.asked))
			}
			for name := range w.Header() {
				if name == "Authorization" || strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("the answer has %s", name)
				}
			}
			if strings.Contains(w.Body.String(), "sesame") {
				t.Errorf("the answer tells the token: %s", w.Body)
			}
		})
	}
}
