package proxy

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// askSigner signs by the path: with an assertion or a Bearer token, not at all,
// or it refuses.
func askSigner(r signer.Request) (*signer.Authorization, error) {
	if r.Path == "/bearer" {
		auth := proxytest.Bearer()
		auth.FedRAMP = true
		return auth, nil
	}
	return bySigner(r)
}

// TestAuthorize decides for a gateway as for the proxy's own requests: which
// header is set and which must go, or why nothing may be sent; and each decision
// is in the audit log.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	log := new(auditLog)
	p := newProxy(t, "", log.use, func(c *Config) { c.Signer = proxytest.SignerFunc(askSigner) })
	t.Cleanup(p.cutNow)

	clients := http.Header{
		"Authorization": {"Bearer the-clients"}, "Chatgpt-Account-Id": {"the-clients"}, "X-Openai-Fedramp": {"maybe"}, "Cookie": {"a=b"},
	}
	ask := Ask{Label: "build-42", Peer: "127.0.0.1:1", Host: "chatgpt.com", Method: "POST", URI: "/a%2Fb?secret=query", Header: clients}
	assertion := http.Header{"Authorization": {"AgentAssertion " + proxytest.AccessToken}}
	granted := audit.Decision{Verdict: audit.VerdictGrant, Client: "build-42", Peer: "127.0.0.1:1", Host: "chatgpt.com:443", Method: "POST", Path: "/a%2Fb", Scheme: signer.SchemeAssertion, Task: "task-1", Signer: "agent-assertion"}
	for _, test := range []struct {
		name   string
		edit   func(*Ask)
		want   http.Header // nil: refused
		status int
		log    func(*audit.Decision)
	}{
		{"assertion", func(*Ask) {}, assertion, 200, func(*audit.Decision) {}},
		{"with a port", func(a *Ask) { a.Host = "ChatGPT.com:443" }, assertion, 200, func(*audit.Decision) {}},
		{"below", func(a *Ask) { a.Host, a.URI = "ab.chatgpt.com", "/a" }, assertion, 200, func(d *audit.Decision) { d.Host, d.Path = "ab.chatgpt.com:443", "/a" }},
		{"no label", func(a *Ask) { a.Label = "" }, assertion, 200, func(d *audit.Decision) { d.Client = "" }},
		{"no header", func(a *Ask) { a.Header = nil }, assertion, 200, func(*audit.Decision) {}},
		{"token", func(a *Ask) { a.URI = "/bearer" },
			http.Header{"Authorization": {"Bearer " + proxytest.AccessToken}, "Chatgpt-Account-Id": {proxytest.Account}, "X-Openai-Fedramp": {"true"}}, 200,
			func(d *audit.Decision) { d.Path, d.Scheme, d.Task, d.Signer = "/bearer", signer.SchemeBearer, "", "" }},
		{"as it came", func(a *Ask) { a.URI = "/none" },
			http.Header{"Authorization": {"Bearer the-clients"}, "Chatgpt-Account-Id": {"the-clients"}, "X-Openai-Fedramp": {"maybe"}}, 200,
			func(d *audit.Decision) {
				d.Verdict, d.Path, d.Scheme, d.Task, d.Signer = audit.VerdictPass, "/none", signer.SchemeNone, "", "none"
			}},
		{"a placeholder as it came", func(a *Ask) {
			a.URI, a.Header = "/none", http.Header{"Authorization": {"Bearer " + placeholder(t)}}
		}, http.Header{}, 200, func(d *audit.Decision) {
			d.Verdict, d.Path, d.Scheme, d.Task, d.Signer = audit.VerdictPass, "/none", signer.SchemeNone, "", "none"
		}},

		{"unsigned", func(a *Ask) { a.URI = "/unsigned" }, nil, 503, func(d *audit.Decision) { d.Path, d.Refused = "/unsigned", "no_login" }},
		{"another host", func(a *Ask) { a.Host = "example.org" }, nil, 403, func(d *audit.Decision) { d.Host, d.Refused = "example.org:443", "host_refused" }},
		{"another port", func(a *Ask) { a.Host = "chatgpt.com:8443" }, nil, 403, func(d *audit.Decision) { d.Host, d.Refused = "chatgpt.com:8443", "host_refused" }},
		{"a longer host", func(a *Ask) { a.Host = "chatgpt.com.example.org" }, nil, 403, func(d *audit.Decision) { d.Host, d.Refused = "chatgpt.com.example.org:443", "host_refused" }},
		{"no host", func(a *Ask) { a.Host = "" }, nil, 400, func(d *audit.Decision) { d.Host, d.Refused = "", "bad_target" }},
		{"an odd host", func(a *Ask) { a.Host = "chatgpt.com." }, nil, 400, func(d *audit.Decision) { d.Host, d.Refused = "", "bad_target" }},
		{"a host with a user", func(a *Ask) { a.Host = "chatgpt.com@example.org" }, nil, 400, func(d *audit.Decision) { d.Host, d.Refused = "", "bad_target" }},
		{"no path", func(a *Ask) { a.URI = "" }, nil, 400, func(d *audit.Decision) { d.Host, d.Path, d.Refused = "", "", "malformed_request" }},
		{"no rooted path", func(a *Ask) { a.URI = "https://chatgpt.com/" }, nil, 400, func(d *audit.Decision) { d.Host, d.Path, d.Refused = "", "https://chatgpt.com/", "malformed_request" }},
		{"an asterisk", func(a *Ask) { a.Method, a.URI = "OPTIONS", "*" }, nil, 400, func(d *audit.Decision) { d.Host, d.Method, d.Path, d.Refused = "", "OPTIONS", "*", "malformed_request" }},
		{"a space in the path", func(a *Ask) { a.URI = "/a b" }, nil, 400, func(d *audit.Decision) { d.Host, d.Path, d.Refused = "", "/a b", "malformed_request" }},
		{"no method", func(a *Ask) { a.Method = "" }, nil, 400, func(d *audit.Decision) { d.Host, d.Method, d.Refused = "", "", "malformed_request" }},
		{"CONNECT", func(a *Ask) { a.Method = "CONNECT" }, nil, 405, func(d *audit.Decision) { d.Host, d.Method, d.Refused = "", "CONNECT", "method_not_allowed" }},
		{"a label with a space", func(a *Ask) { a.Label = "a b" }, nil, 400, func(d *audit.Decision) { d.Client, d.Host, d.Refused = "", "", "bad_label" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ask, want := ask, granted
			ask.Header = maps.Clone(clients)
			test.edit(&ask)
			test.log(&want)
			if test.want == nil {
				want.Verdict, want.Scheme, want.Task, want.Signer = audit.VerdictRefuse, "", "", ""
			}
			got := p.Authorize(t.Context(), ask)
			if got.Status != test.status || got.Granted() != (test.want != nil) {
				t.Errorf("status %d, code %q; want status %d", got.Status, got.Code, test.status)
			}
			if diff := cmp.Diff([]audit.Decision{want}, log.take(), cmpopts.IgnoreFields(audit.Decision{}, "Time")); diff != "" {
				t.Errorf("the audit log (-want +got):\n%s", diff)
			}
			if test.want != nil {
				if diff := cmp.Diff(test.want, got.Header); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
				return
			}
			var body struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal(got.Body, &body); err != nil || body.Error.Code != got.Code || body.Error.Message == "" || got.Code != want.Refused {
				t.Errorf("code %q, body %s: %v", got.Code, got.Body, err)
			}
			for _, name := range CredentialHeaders() {
				if got.Header[name] != nil {
					t.Errorf("a refusal has %s", name)
				}
			}
			if text := string(got.Body) + strings.Join(slices.Collect(maps.Keys(got.Header)), ""); strings.Contains(text, proxytest.AccessToken) {
				t.Errorf("a refusal has a credential: %s", text)
			}
		})
	}
	p.logged(t, `"kind":"authz"`, `"signed":"AgentAssertion"`, `"refused":"host_refused"`)
	if log := p.log.String(); strings.Contains(log, proxytest.AccessToken) || strings.Contains(log, "the-clients") || strings.Contains(log, "query") {
		t.Errorf("the log has a credential or a query:\n%s", log)
	}
}

// TestAuthorizeWebSocket knows a WebSocket by what it cannot be opened without
// (RFC 6455, section 4.2.1) where a gateway leaves Upgrade out.
func TestAuthorizeWebSocket(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "", func(c *Config) { c.Signer, c.Scope = proxytest.SignerFunc(askSigner), scopeOf(t, codexEntry) })
	t.Cleanup(p.cutNow)
	for _, test := range []struct {
		path   string
		header http.Header
		want   int
	}{
		{"/backend-api/wham/tasks", nil, 200},
		{"/backend-api/wham/tasks", http.Header{"Upgrade": {"websocket"}}, 403},
		{"/backend-api/wham/tasks", http.Header{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}, 403},
		{"/backend-api/wham/tasks", http.Header{"Upgrade": {""}, "Sec-Websocket-Key": {""}}, 403},
		{"/backend-api/codex/responses", http.Header{"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}, 200},
		{"/backend-api/codex/responses", http.Header{"Upgrade": {"h2c"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}, 403},
	} {
		got := p.Authorize(t.Context(), Ask{Host: "chatgpt.com", Method: "GET", URI: test.path, Header: test.header})
		if got.Status != test.want || test.want == 403 && got.Code != "out_of_scope" {
			t.Errorf("%s with %v: status %d, code %q; want %d", test.path, test.header, got.Status, got.Code, test.want)
		}
	}
}

// TestAuthorizeByProfile goes by the profile of the label that the gateway tells.
func TestAuthorizeByProfile(t *testing.T) {
	t.Parallel()
	profile := func(name string) Profile {
		pattern, err := access.ParseLabelPattern(name + "-*")
		if err != nil {
			t.Fatal(err)
		}
		auth := &signer.Authorization{Value: identity.Secret("Bearer " + name), Scheme: signer.SchemeBearer, Signer: "token"}
		return Profile{Name: name, Labels: access.LabelPatterns{pattern}, Signer: proxytest.FixedSigner{Auth: auth}}
	}
	red, blue, closed := profile("red"), profile("blue"), profile("closed")
	blue.Hosts, closed.Refuse = patterns(t, "ab.chatgpt.com"), true
	p := newProxy(t, "", func(c *Config) { c.Profiles = []Profile{red, blue, closed} })
	t.Cleanup(p.cutNow)
	for _, test := range []struct{ label, host, want, code string }{
		{"red-1", proxytest.Host, "Bearer red", ""},
		{"blue-1", "ab.chatgpt.com", "Bearer blue", ""},
		{"blue-1", proxytest.Host, "", "host_refused"},
		{"closed-1", proxytest.Host, "", "label_refused"},
		{"other", proxytest.Host, "Bearer " + proxytest.AccessToken, ""},
		{"", proxytest.Host, "Bearer " + proxytest.AccessToken, ""},
	} {
		got := p.Authorize(t.Context(), Ask{Label: test.label, Host: test.host, Method: "GET", URI: "/"})
		if got.Code != test.code || got.Header.Get("Authorization") != test.want {
			t.Errorf("%s for %s: %q %q, want %q %q", test.label, test.host, got.Code, got.Header.Get("Authorization"), test.code, test.want)
		}
	}
}

// TestAuthorizeUnrecorded gives no credential that cannot be recorded.
func TestAuthorizeUnrecorded(t *testing.T) {
	t.Parallel()
	log := &auditLog{fail: func(d audit.Decision) bool { return d.Verdict == audit.VerdictGrant }}
	p := newProxy(t, "", log.use)
	t.Cleanup(p.cutNow)
	got := p.Authorize(t.Context(), Ask{Host: proxytest.Host, Method: "GET", URI: "/"})
	if got.Granted() || got.Code != "audit_failed" || got.Status != http.StatusServiceUnavailable || got.Header["Authorization"] != nil {
		t.Errorf("%+v", got)
	}
}

// TestAuthorizeForNobody refuses a gateway that has gone, and does not call it
// a decision.
func TestAuthorizeForNobody(t *testing.T) {
	t.Parallel()
	log := new(auditLog)
	p := newProxy(t, "", log.use, func(c *Config) { c.Signer = proxytest.FixedSigner{Err: context.Canceled} })
	t.Cleanup(p.cutNow)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := p.Authorize(ctx, Ask{Host: proxytest.Host, Method: "GET", URI: "/"}); got.Granted() {
		t.Errorf("%+v", got)
	}
	if got := log.take(); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	p.logged(t, `"failure":"cancelled"`)
}
