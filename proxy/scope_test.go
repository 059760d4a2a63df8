package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

var codexEntry = signer.ScopeEntry{Word: signer.WordCodex}

// byKind is a signer that tells the kind that it was asked for.
func byKind(r signer.Request) (*signer.Authorization, error) {
	return &signer.Authorization{Value: identity.Secret("Bearer for-" + r.Kind.String()), Scheme: signer.SchemeBearer, AccountID: proxytest.Account}, nil
}

// TestScope sends on what is in scope with a credential of the kind that it is to
// carry, and nothing else.
func TestScope(t *testing.T) {
	t.Parallel()
	const mine = "Bearer the-client's-own"
	for _, test := range []struct {
		method, path string
		authorization,
		accountID string // that arrive, "refused" for none
	}{
		{"POST", "/backend-api/codex/responses", "Bearer for-inference", proxytest.Account},
		{"GET", "/backend-api/codex/models", "Bearer for-account", proxytest.Account},
		{"POST", "/backend-api/wham/remote/control/server/pair", mine, "the-client's"},
		{"GET", "/backend-api/plugins/export/curated", "", ""},
		{"GET", "/backend-api/conversations", "refused", ""},
		{"GET", "/backend-api/codex/../conversations", "refused", ""},
		{"GET", "/backend-api/codex/%2e%2e/conversations", "refused", ""},
		{"GET", "/backend-api/authenticate_app_v2", "refused", ""},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			t.Parallel()
			proxytest.EachProto(t, func(t *testing.T, proto string) {
				arrived := make(chan http.Header, 1)
				backend := proxytest.NewBackend(t, proxytest.H2, func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header })
				p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
					c.Scope, c.Signer = scopeOf(t, codexEntry), proxytest.SignerFunc(byKind)
				})
				r := proxytest.NewRequest(t, test.method, proxytest.Origin, nil)
				r.URL.Opaque = "//" + proxytest.Host + test.path
				r.Header.Set("Authorization", mine)
				r.Header.Set("ChatGPT-Account-ID", "the-client's")
				res := proxytest.Do(t, p.client(t, proto), r)
				if test.authorization == "refused" {
					proxytest.WantRefusal(t, res, http.StatusForbidden, "out_of_scope", "http_request_denied")
					if len(arrived) > 0 {
						t.Error("it arrived")
					}
					return
				}
				h := <-arrived
				if got := h.Get("Authorization"); got != test.authorization || h.Get("ChatGPT-Account-ID") != test.accountID {
					t.Errorf("%q for %q, want %q for %q", got, h.Get("ChatGPT-Account-ID"), test.authorization, test.accountID)
				}
			})
		})
	}
}

// TestScopeKeepsPlaceholders sends no placeholder to a server, whatever the
// request is to carry.
func TestScopeKeepsPlaceholders(t *testing.T) {
	t.Parallel()
	arrived := make(chan http.Header, 1)
	backend := proxytest.NewBackend(t, proxytest.H2, func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header })
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Scope = scopeOf(t, codexEntry) })
	for method, path := range map[string]string{
		"POST": "/backend-api/wham/remote/control/server/pair", "GET": "/backend-api/plugins/export/curated",
	} {
		r := proxytest.NewRequest(t, method, proxytest.Origin+path, nil)
		r.Header.Set("Authorization", "Bearer "+placeholder(t))
		if res := proxytest.Do(t, p.client(t, proxytest.H2), r); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		if h := <-arrived; h["Authorization"] != nil {
			t.Errorf("%s: %q arrived", path, h["Authorization"])
		}
	}
}

// TestOutOfScope says which request was refused and what would allow it, to the
// client, the log, the audit log and those who watch.
func TestOutOfScope(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	log, watcher := new(auditLog), new(outcomes)
	p := startProxy(t, address, log.use, func(c *Config) {
		c.Scope, c.Observe = scopeOf(t, codexEntry), watcher.add
		c.Signer = proxytest.SignerFunc(func(signer.Request) (*signer.Authorization, error) {
			t.Error("a signer was asked")
			return proxytest.Bearer(), nil
		})
	})
	res := proxytest.Do(t, p.client(t, proxytest.H2), proxytest.NewRequest(t, "POST", proxytest.Origin+"/backend-api//conversation%73?secret=1", strings.NewReader("{}")))
	body := proxytest.ReadAll(t, res.Body)
	var refused struct{ Error map[string]string }
	if err := json.Unmarshal([]byte(body), &refused); err != nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%s: %s", res.Status, body)
	}
	const entry = "{host: chatgpt.com, methods: [POST], path: /backend-api/conversations}"
	for field, want := range map[string]string{
		"code": "out_of_scope", "host": "chatgpt.com:443", "method": "POST", "path": "/backend-api/conversations", "reason": "path",
		"allow":   "scope:\n  allow:\n    - codex\n    - " + entry + "\n",
		"message": "POST https://chatgpt.com/backend-api/conversations was not sent, because it is not in scope (path); to allow it, add to scope.allow: " + entry,
	} {
		if refused.Error[field] != want {
			t.Errorf("%s: %q, want %q", field, refused.Error[field], want)
		}
	}
	if strings.Contains(body, "secret") {
		t.Errorf("the refusal has the query: %s", body)
	}
	if d := log.take(); len(d) != 1 || d[0].Verdict != audit.VerdictRefuse || d[0].Refused != "out_of_scope" || d[0].OutOfScope != signer.ReasonPath {
		t.Errorf("the audit log: %+v", d)
	}
	p.logged(t, `"out_of_scope":"path"`, `"refused":"out_of_scope"`)
	proxytest.Eventually(t, func() error {
		return watcher.wantMiss(OutOfScope{signer.ReasonPath, "chatgpt.com:443", "POST", "/backend-api/conversations", "", entry, false})
	})
	if reached.Load() > 0 {
		t.Error("it was sent")
	}
}

// TestOutOfScopeOfProfile names the profile whose scope it is.
func TestOutOfScopeOfProfile(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address, func(c *Config) {
		c.Clients.Token = "token"
		c.Profiles = []Profile{{Name: "tight", Labels: labels(t, "narrow"), ConnectionsPerLabel: 10, Signer: proxytest.FixedSigner{Auth: proxytest.Bearer()}, Scope: scopeOf(t, codexEntry)}}
	})
	narrow := p.clientAs(t, proxytest.H2, url.UserPassword("narrow", "token"))
	res := proxytest.Get(t, narrow, proxytest.Origin+"/backend-api/me")
	message := proxytest.WantRefusal(t, res, http.StatusForbidden, "out_of_scope", "http_request_denied")
	if !strings.Contains(message, "add to scope.allow of profile tight: {host: chatgpt.com, methods: [GET], path: /backend-api/me}") {
		t.Error(message)
	}
	if res := proxytest.Get(t, p.clientAs(t, proxytest.H2, url.UserPassword("wide", "token")), proxytest.Origin+"/backend-api/me"); res.StatusCode != http.StatusOK {
		t.Errorf("another label: %s", res.Status)
	}
}

// TestScopeThatWarns sends what is out of scope all the same, and tells of it.
func TestScopeThatWarns(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	log, watcher := new(auditLog), new(outcomes)
	p := startProxy(t, address, log.use, func(c *Config) {
		c.Observe = watcher.add
		scope, _, err := signer.NewScope(signer.ScopeConfig{BaseURL: proxytest.Origin + "/backend-api", Allow: []signer.ScopeEntry{codexEntry}, Warn: true})
		if err != nil {
			t.Fatal(err)
		}
		c.Scope = scope
	})
	client := p.client(t, proxytest.H2)
	if res := proxytest.Get(t, client, proxytest.Origin+"/backend-api/me"); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	if d := log.take(); len(d) != 1 || d[0].Verdict != audit.VerdictSign || d[0].OutOfScope != signer.ReasonPath {
		t.Errorf("the audit log: %+v", d)
	}
	proxytest.Eventually(t, func() error {
		return watcher.wantMiss(OutOfScope{signer.ReasonPath, "chatgpt.com:443", "GET", "/backend-api/me", "", "{host: chatgpt.com, methods: [GET], path: /backend-api/me}", true})
	})
	p.logged(t, `"out_of_scope":"path"`)
	// What has no place in the scope of anybody but who asks for all by name.
	for _, url := range []string{"https://ab.chatgpt.com/backend-api/me", proxytest.Origin + "/backend-api/authenticate_app_v2"} {
		proxytest.WantRefusal(t, proxytest.Get(t, client, url), http.StatusForbidden, "out_of_scope", "http_request_denied")
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d requests were sent", n)
	}
}

// TestNoScope signs nothing where nothing is said of what may be signed.
func TestNoScope(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address, func(c *Config) { c.Scope = nil })
	proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proxytest.H1), proxytest.Origin+"/backend-api/codex/models"), http.StatusForbidden, "out_of_scope", "http_request_denied")
	if reached.Load() > 0 {
		t.Error("it was sent")
	}
}

// TestMethods refuses methods that nothing is signed for, inside of a tunnel and
// for gateways, whatever is in scope.
func TestMethods(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	for _, method := range []string{"TRACE", "TRACK", "CONNECT", "PROPFIND", "PURGE", "QUERY", "get", "Post", "PRI", "BREW", "M-SEARCH"} {
		target := "/"
		if method == "CONNECT" {
			target = proxytest.Host + ":443"
		}
		c := p.intercepted(t, "http/1.1")
		c.Send(t, "%s %s HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", method, target)
		res := c.Response(t, http.MethodGet)
		if got := res.Header.Get("Allow"); got != "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" {
			t.Errorf("%s: Allow: %s", method, got)
		}
		proxytest.WantRefusal(t, res, http.StatusMethodNotAllowed, "method_not_allowed", "http_request_denied")
		if answer := p.Authorize(t.Context(), Ask{Host: proxytest.Host, Method: method, URI: "/"}); answer.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s for a gateway: %+v", method, answer)
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	// What is for another host is sent on as it came, but for those two.
	plain := proxytest.NewRawServer(t, proxytest.PlainRecorder(make(chan []string, 4)))
	open := startProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["plain.example:80"] = plain })
	for method, want := range map[string]int{"PROPFIND": 204, "TRACE": 405, "TRACK": 405} {
		c := open.dial(t)
		c.Send(t, "%s http://plain.example/ HTTP/1.1\r\nHost: plain.example\r\n\r\n", method)
		if res := c.Response(t, http.MethodGet); res.StatusCode != want {
			t.Errorf("%s in the clear: %s, want %d", method, res.Status, want)
		}
	}
}

// TestWebPages signs nothing that a page of another site has had its browser send.
func TestWebPages(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	p := startProxy(t, address)
	want := int64(0)
	for _, test := range []struct {
		name   string
		header http.Header
		signed bool
	}{
		{"no page", http.Header{}, true},
		{"its own", http.Header{"Origin": {proxytest.Origin}, "Sec-Fetch-Site": {"same-origin"}}, true},
		{"its own, in capitals", http.Header{"Origin": {"https://ChatGPT.com"}}, true},
		{"typed", http.Header{"Sec-Fetch-Site": {"none"}}, true},
		{"another site's", http.Header{"Origin": {"https://evil.example"}}, false},
		{"another site's without Origin", http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		{"a name below", http.Header{"Sec-Fetch-Site": {"same-site"}}, false},
		{"a name below, with Origin", http.Header{"Origin": {"https://dangling.chatgpt.com"}, "Sec-Fetch-Site": {"same-site"}}, false},
		{"in the clear", http.Header{"Origin": {"http://chatgpt.com"}}, false},
		{"another port", http.Header{"Origin": {"https://chatgpt.com:8443"}}, false},
		{"no origin at all", http.Header{"Origin": {"null"}}, false},
		{"an empty origin", http.Header{"Origin": {""}}, false},
		{"two", http.Header{"Origin": {proxytest.Origin, "https://evil.example"}}, false},
		{"a longer name", http.Header{"Origin": {"https://chatgpt.com.evil.example"}}, false},
		{"contradictory", http.Header{"Origin": {proxytest.Origin}, "Sec-Fetch-Site": {"cross-site"}}, false},
		{"unknown", http.Header{"Sec-Fetch-Site": {"other"}}, false},
	} {
		r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/backend-api/codex/responses", nil)
		for name, values := range test.header {
			r.Header[name] = values
		}
		res := proxytest.Do(t, p.client(t, proxytest.H1), r)
		answer := p.Authorize(t.Context(), Ask{Host: proxytest.Host, Method: "POST", URI: "/backend-api/codex/responses", Header: test.header})
		if test.signed {
			want++
			if res.StatusCode != http.StatusOK || !answer.Granted() {
				t.Errorf("%s: %s, %+v", test.name, res.Status, answer)
			}
			continue
		}
		proxytest.WantRefusal(t, res, http.StatusForbidden, "cross_site", "http_request_denied")
		if answer.Code != "cross_site" {
			t.Errorf("%s for a gateway: %+v", test.name, answer)
		}
	}
	c := p.intercepted(t, "http/1.1")
	c.Send(t, "GET /backend-api/codex/responses HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: https://evil.example\r\n\r\n")
	proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusForbidden, "cross_site", "http_request_denied")
	if n := reached.Load(); n != want {
		t.Errorf("%d requests were sent, want %d", n, want)
	}
}

// TestScopeOfUpgrades upgrades what Codex upgrades, and to that.
func TestScopeOfUpgrades(t *testing.T) {
	t.Parallel()
	address, heads := newRecorder(t)
	p := startProxy(t, address, func(c *Config) { c.Scope = scopeOf(t, codexEntry) })
	for _, test := range []struct {
		method, path, upgrade string
		sent                  bool
	}{
		{"GET", "/backend-api/codex/responses", "websocket", true},
		{"GET", "/backend-api/wham/remote/control/server", "websocket", true},
		{"GET", "/backend-api/codex/responses", "h2c", false},
		{"POST", "/backend-api/codex/responses", "websocket", false},
		{"GET", "/backend-api/codex/models", "websocket", false},
		{"GET", "/backend-api/wham/remote/control/client", "websocket", false},
	} {
		c := p.intercepted(t, "http/1.1")
		c.Send(t, "%s %s HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", test.method, test.path, test.upgrade)
		res := c.Response(t, http.MethodGet)
		if !test.sent {
			proxytest.WantRefusal(t, res, http.StatusForbidden, "out_of_scope", "http_request_denied")
		} else if head := <-heads; res.StatusCode != http.StatusNoContent || !slices.Contains(head, "Upgrade: "+test.upgrade) {
			t.Errorf("%s %s: %s, %q", test.method, test.path, res.Status, head)
		}
		answer := p.Authorize(t.Context(), Ask{Host: proxytest.Host, Method: test.method, URI: test.path, Header: http.Header{"Upgrade": {test.upgrade}}})
		if answer.Granted() != test.sent {
			t.Errorf("%s %s %s for a gateway: %+v", test.method, test.path, test.upgrade, answer)
		}
	}
	if len(heads) > 0 {
		t.Errorf("%q was sent", <-heads)
	}
}

// TestGatewaySpellings refuses for gateways what they might pass beside the
// credential that they are given.
func TestGatewaySpellings(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	t.Cleanup(p.cutNow)
	ask := Ask{Host: proxytest.Host, Method: "GET", URI: "/backend-api/codex/models"}
	for name, granted := range map[string]bool{
		"Chatgpt-Account-Id": true, "X-Openai-Agent-Assertion": true, "Chatgpt_account_id": false, "X_openai_fedramp": false,
		"X-Openai_agent-Assertion": false, "X_openai_authorization": false, "Chatgpt_account_name": true,
	} {
		ask.Header = http.Header{name: {"x"}}
		answer := p.Authorize(t.Context(), ask)
		if answer.Granted() != granted || answer.Header[name] != nil && name != "Chatgpt-Account-Id" {
			t.Errorf("%s: %+v", name, answer)
		}
	}
}

// TestRuleThatRefuses answers with 403, for nothing is out of order.
func TestRuleThatRefuses(t *testing.T) {
	t.Parallel()
	address, reached := countingBackend(t)
	rule, err := signer.NewRule(signer.Match{Methods: []string{"DELETE"}, Path: "/backend-api/**"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, address, func(c *Config) {
		c.Signer = signer.Rules{Rules: []signer.Rule{rule}, Default: proxytest.FixedSigner{Auth: proxytest.Bearer()}}
	})
	client := p.client(t, proxytest.H1)
	for path, code := range map[string]string{"/backend-api/x": "rule_refused", "/a/../backend-api/x": "ambiguous_path"} {
		r := proxytest.NewRequest(t, http.MethodDelete, proxytest.Origin, nil)
		r.URL.Opaque = "//" + proxytest.Host + path
		proxytest.WantRefusal(t, proxytest.Do(t, client, r), http.StatusForbidden, code, "http_request_denied")
	}
	if res := proxytest.Get(t, client, proxytest.Origin+"/backend-api/x"); res.StatusCode != http.StatusOK || reached.Load() != 1 {
		t.Errorf("%s, %d sent", res.Status, reached.Load())
	}
}

// outcomes collects how exchanges ended.
type outcomes struct {
	mu  sync.Mutex
	all []Outcome
}

func (o *outcomes) add(outcome Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, outcome)
}

// wantMiss says how the one request differs from one that was out of scope so.
func (o *outcomes) wantMiss(want OutOfScope) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, outcome := range o.all {
		if miss := outcome.OutOfScope; miss != nil && *miss == want {
			return nil
		}
	}
	return fmt.Errorf("%+v, want %+v", o.all, want)
}
