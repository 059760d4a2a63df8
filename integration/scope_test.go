//go:build linux

package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// foreignRequests are what others ask of ChatGPT and its neighbours, and Codex does
// not: a method and a URL.
var foreignRequests = []string{
	// The web site.
	"GET https://chatgpt.com/backend-api/conversations",
	"GET https://chatgpt.com/backend-api/conversation/6734e2a1-88f0-8007-9d6c-1f2f3a4b5c6d",
	"POST https://chatgpt.com/backend-api/conversation",
	"POST https://chatgpt.com/backend-api/f/conversation",
	"PATCH https://chatgpt.com/backend-api/conversation/6734e2a1",
	"DELETE https://chatgpt.com/backend-api/conversations",
	"GET https://chatgpt.com/backend-api/conversation/6734e2a1/attachment/file-1/download",
	"POST https://chatgpt.com/backend-api/conversation/init",
	"GET https://chatgpt.com/backend-api/shared_conversations",
	"POST https://chatgpt.com/backend-api/share/create",
	"GET https://chatgpt.com/backend-api/share/6734e2a1",
	"GET https://chatgpt.com/backend-api/me",
	"GET https://chatgpt.com/backend-api/memories",
	"DELETE https://chatgpt.com/backend-api/memories",
	"GET https://chatgpt.com/backend-api/settings/user",
	"PATCH https://chatgpt.com/backend-api/settings/account_user_setting",
	"GET https://chatgpt.com/backend-api/user_system_messages",
	"GET https://chatgpt.com/backend-api/accounts/check/v4-2023-04-27",
	"GET https://chatgpt.com/backend-api/accounts/account-123/users",
	"POST https://chatgpt.com/backend-api/accounts/account-123/invites",
	"DELETE https://chatgpt.com/backend-api/accounts/account-123/users/user-1",
	"POST https://chatgpt.com/backend-api/accounts/data_export",
	"POST https://chatgpt.com/backend-api/accounts/deactivate",
	"GET https://chatgpt.com/backend-api/payments/customer_portal",
	"POST https://chatgpt.com/backend-api/payments/checkout",
	"GET https://chatgpt.com/backend-api/subscriptions",
	"GET https://chatgpt.com/backend-api/models",
	"GET https://chatgpt.com/backend-api/gizmos/bootstrap",
	"GET https://chatgpt.com/backend-api/gizmos/g-2fkFE8rbu",
	"GET https://chatgpt.com/backend-api/projects",
	"GET https://chatgpt.com/backend-api/tasks",
	"GET https://chatgpt.com/backend-api/compliance/registration",
	"POST https://chatgpt.com/backend-api/sentinel/chat-requirements",
	"GET https://chatgpt.com/backend-api/aip/connectors/list_accessible",
	"POST https://chatgpt.com/backend-api/register-websocket",
	"POST https://chatgpt.com/backend-api/lat/r",
	"GET https://chatgpt.com/api/auth/session",
	"GET https://chatgpt.com/api/auth/csrf",
	"POST https://chatgpt.com/api/auth/signout",
	"GET https://chatgpt.com/",
	"GET https://chatgpt.com/public-api/conversation_limit",
	"POST https://chatgpt.com/ces/v1/t",

	// Files but for what Codex does with them.
	"GET https://chatgpt.com/backend-api/files",
	"GET https://chatgpt.com/backend-api/files/file-1/download",
	"GET https://chatgpt.com/backend-api/files/download/file-1",
	"DELETE https://chatgpt.com/backend-api/files/file-1",
	"POST https://chatgpt.com/backend-api/files/process_upload_stream",

	// Other people's machines, and agents.
	"GET https://chatgpt.com/backend-api/wham/remote/control/clients",
	"GET https://chatgpt.com/backend-api/wham/remote/control/client",
	"POST https://chatgpt.com/backend-api/wham/remote/control/environments/env-1/start",
	"POST https://chatgpt.com/backend-api/wham/remote/tasks",
	"POST https://chatgpt.com/backend-api/wham/agent-identities/agent-1/revoke",
	"GET https://chatgpt.com/backend-api/authenticate_app_v2",
	"POST https://chatgpt.com/backend-api/v1/agent/register",
	"POST https://chatgpt.com/backend-api/v1/agent/agent-1/task/register",
	"GET https://chatgpt.com/backend-api/v1/agent/agent-1",
	"DELETE https://chatgpt.com/backend-api/v1/agent/agent-1",

	// Paths that name what to do elsewhere.
	"POST https://chatgpt.com/graphql",
	"POST https://chatgpt.com/backend-api/graphql",
	"POST https://chatgpt.com/rpc/accounts.AccountService/Invite",
	"POST https://chatgpt.com/backend-api/rpc",
	"POST https://chatgpt.com/backend-api/batch",

	// Methods.
	"OPTIONS https://chatgpt.com/backend-api/codex/responses",
	"HEAD https://chatgpt.com/backend-api/codex/models",
	"TRACE https://chatgpt.com/backend-api/codex/models",
	"PROPFIND https://chatgpt.com/backend-api/codex/models",

	// Ports, staging, and names that may be anybody's.
	"POST https://chatgpt.com:8443/backend-api/codex/responses",
	"GET https://chatgpt.com:80/backend-api/codex/models",
	"POST https://chatgpt-staging.com/backend-api/codex/responses",
	"GET https://chatgpt-staging.com/codex/models",
	"GET https://api.chatgpt-staging.com/backend-api/codex/models",
	"POST https://chat.openai.com/backend-api/codex/responses",
	"GET https://ab.chatgpt.com/backend-api/codex/models",
	"POST https://ab.chatgpt.com/otlp/v1/traces",
	"POST https://dangling.chatgpt.com/backend-api/codex/responses",
	"GET https://a.b.chatgpt.com/backend-api/codex/models",
	"GET https://files.chatgpt.com/backend-api/files/file-1",

	// Paths that are Codex's at first sight.
	"GET https://chatgpt.com/backend-api/codex/../conversations",
	"GET https://chatgpt.com/backend-api/codex/%2e%2e/conversations",
	"GET https://chatgpt.com/backend-api/codex%2F..%2Fconversations",
	"GET https://chatgpt.com/backend-api/codex;x=/../conversations",
	"GET https://chatgpt.com//codex/backend-api/conversations",
	"GET https://chatgpt.com/codex/models",
	"GET https://chatgpt.com/backend-api/codexx/models",
}

// TestForeignRequests sends what Codex does not ask for, in every way that leads to
// a credential. No server sees any of it.
func TestForeignRequests(t *testing.T) {
	t.Parallel()
	if len(foreignRequests) < 60 {
		t.Fatalf("%d requests", len(foreignRequests))
	}
	const token = "a-token-that-gateways-show"
	f := newFixture(t, fixtureConfig{scope: defaultScope, yaml: "authz: {listen: '127.0.0.1:0', token: " + token + "}"})
	address := f.backend.Addr()
	f.edit(t, `"chatgpt.com:443":`, fmt.Sprintf("\"chatgpt.com:8443\": %q\n    \"chatgpt.com:80\": %[1]q\n    \"chatgpt-staging.com:443\": %[1]q\n    \"*.chatgpt-staging.com:443\": %[1]q\n    \"chatgpt.com:443\":", address))
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	m := answering.FindStringSubmatch(p.log.String())
	if m == nil {
		t.Fatal("agentproxy serve does not say where it answers gateways")
	}
	gateways := gatewayAsker{t: t, address: m[1], token: token}
	gateways.dial()
	refused := func(how, request string, a rawAnswer) {
		t.Helper()
		if a.status != http.StatusForbidden && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %s: status %d, %s", how, request, a.status, a.body)
		}
		if strings.Contains(a.header+a.body, "AgentAssertion ") || strings.Contains(a.header, "X-Openai-Authorization") {
			t.Errorf("%s: %s is answered with a credential", how, request)
		}
	}
	for _, request := range foreignRequests {
		method, url, _ := strings.Cut(request, " https://")
		authority, path, _ := strings.Cut(url, "/")
		path = "/" + path
		host, _, hasPort := strings.Cut(authority, ":")
		named := authority
		if !hasPort {
			named += ":443"
		}
		open := func(protocol string) *tls.Conn {
			raw, answer := p.connect(t, named, named)
			if answer.status != http.StatusOK {
				t.Fatalf("CONNECT %s: %d", named, answer.status)
			}
			return p.secure(t, raw, host, host, protocol)
		}
		refused("h1", request, askHTTP1(t, open("http/1.1"), lines(method+" "+path+" HTTP/1.1", "Host: "+authority)))
		refused("h2", request, askHTTP2(t, open("h2"), []hpack.HeaderField{
			{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: authority}, {Name: ":path", Value: path},
		}))
		refused("WebSocket", request, askHTTP1(t, open("http/1.1"), lines("GET "+webSocketPath(method, path)+" HTTP/1.1", "Host: "+authority,
			"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")))
		refused("forward-auth", request, gateways.overHTTP(named, method, path))
		refused("gRPC", request, gateways.overGRPC(named, method, path))
	}
	origins := 0
	for _, r := range f.backend.Requests() {
		switch {
		case isRegistration(r), isKeySet(r):
		case r.Method == "GET" && r.Host == "chatgpt.com" && r.Path == "/backend-api/wham/accounts/check":
			origins++ // the proxy's own, for the names below chatgpt.com
		default:
			t.Errorf("the backend saw %s %s%s", r.Method, r.Host, r.Path)
		}
	}
	if origins > 1 {
		t.Errorf("the proxy asked %d times for the account's hosts", origins)
	}
	if got := strings.Count(p.log.String(), `"refused":"out_of_scope"`); got < 4*60 {
		t.Errorf("%d refusals are in the log", got)
	}
}

// webSocketPath keeps paths that may become a WebSocket out of the way: what makes
// those foreign is their method.
func webSocketPath(method, path string) string {
	if method == "OPTIONS" && path == "/backend-api/codex/responses" {
		return "/backend-api/codex/models"
	}
	return path
}

// gatewayAsker asks as gateways do.
type gatewayAsker struct {
	t              *testing.T
	address, token string
	envoy          authv3.AuthorizationClient
}

func (g *gatewayAsker) dial() {
	conn, err := grpc.NewClient("passthrough:///"+g.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	g.envoy = authv3.NewAuthorizationClient(conn)
}

func (g *gatewayAsker) overHTTP(host, method, path string) rawAnswer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.address+"/forward-auth/"+host, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("X-Agentproxy-Token", g.token)
	r.Header.Set("X-Forwarded-Method", method)
	r.Header.Set("X-Forwarded-Uri", path)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	return rawAnswer{status: response.StatusCode, header: fmt.Sprint(response.Header), body: bodyOf(g.t, response)}
}

func (g *gatewayAsker) overGRPC(host, method, path string) rawAnswer {
	g.t.Helper()
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-agentproxy-token", g.token)
	answer, err := g.envoy.Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"host": host},
		Request:           &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: method, Path: path}},
	}})
	if err != nil {
		g.t.Fatal(err)
	}
	if codes.Code(answer.Status.Code) == codes.OK {
		return rawAnswer{status: http.StatusOK, header: fmt.Sprint(answer.GetOkResponse().GetHeaders())}
	}
	denied := answer.GetDeniedResponse()
	return rawAnswer{status: int(denied.GetStatus().GetCode()), header: fmt.Sprint(denied.GetHeaders()), body: denied.GetBody()}
}

// TestTheftOfAnAgent begins to make an agent that would outlive the proxy: a biscuit,
// and with it a registration of a key of the client's own. It fails at once, unless
// everything is allowed by name.
func TestTheftOfAnAgent(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scope, signer string
		status        int
		code          string
	}{
		"by default":             {defaultScope, "", 403, "out_of_scope"},
		"where it only warns":    {"scope: {on_miss: warn}", "", 403, "out_of_scope"},
		"every path":             {`scope: {allow: [codex, {path: "/**"}]}`, "", 403, "out_of_scope"},
		"the very path":          {`scope: {allow: [{path: /backend-api/authenticate_app_v2}]}`, "", 403, "out_of_scope"},
		"every path of the host": {`scope: {allow: [{host: chatgpt.com}]}`, "", 403, "out_of_scope"},
		"all, the agent alone":   {"scope: {allow: [all]}", "signer: {use: agent-assertion}", 403, "biscuit_refused"},
		"all, or refuse":         {"scope: {allow: [all]}", "signer: {on_failure: refuse}", 403, "biscuit_refused"},
		"all, with a rule": {
			"scope: {allow: [all]}", `signer: {rules: [{path: "**/authenticate_app_v2", use: refuse}]}`, 403, "rule_refused",
		},
		"all": {"scope: {allow: [all]}", "", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newFixture(t, fixtureConfig{scope: test.scope, yaml: test.signer}).serve(t)
			const base = "https://chatgpt.com/backend-api"
			r := curl(t, p.env, base+"/authenticate_app_v2", "-H", "X-Original-Method: POST", "-H", "X-Original-Url: "+base+"/v1/agent/register",
				"-H", "X-Request-Id: codex-agent-identity-AAAAAAAAAAAAAAAAAAAAAA")
			if r.Code != test.status {
				t.Errorf("status %d, want %d: %s", r.Code, test.status, r.body)
			}
			biscuit := r.header.Get("X-Openai-Authorization")
			if (biscuit != "") != (test.status == 200) {
				t.Errorf("the biscuit is %q", biscuit)
			}
			if test.code == "" {
				return
			}
			checkRefusal(t, r.body, test.code)
			if requests := p.fixture.backend.Requests(); len(requests) > 0 {
				t.Errorf("the backend saw %s %s", requests[0].Method, requests[0].Path)
			}
		})
	}
}

// TestHostileRefusals has servers that the agent's credential may be signed for
// refuse it in every way. They are shown the same credential anew, or nothing, and
// never the log-in's.
func TestHostileRefusals(t *testing.T) {
	t.Parallel()
	for _, use := range []string{"auto", "agent-assertion"} {
		t.Run(use, func(t *testing.T) {
			t.Parallel()
			refuseEverything(t, "signer: {use: "+use+"}")
			refuseInOutage(t, "signer: {use: "+use+"}")
		})
	}
}

// refuseInOutage has the server refuse a task while no other can be registered. A
// client that tries again, and a proxy that is started again, get no further.
func refuseInOutage(t *testing.T, signer string) {
	f := newLoginFixture(t, fixtureConfig{yaml: signer})
	ask := func(t *testing.T, p *proxy, want int, text string) {
		t.Helper()
		r := curl(t, p.env, "https://chatgpt.com/backend-api/codex/responses", "-X", "POST", "-H", "Content-Type: application/json", "-d", `{"model": "gpt-5", "input": []}`)
		if r.Code != want || !strings.Contains(r.body, text) {
			t.Errorf("status %d, want %d with %q: %s", r.Code, want, text, r.body)
		}
	}
	const remedy = "agentproxy check"
	t.Run("refused in an outage", func(t *testing.T) {
		p := f.serve(t)
		ask(t, p, http.StatusOK, "")
		f.backend.Inject(chatgpttest.Fault{Path: "/backend-api/codex/responses", Status: http.StatusUnauthorized})
		f.backend.Inject(chatgpttest.Fault{Path: "*/task/register", Status: http.StatusInternalServerError})
		ask(t, p, http.StatusUnauthorized, "")
		ask(t, p, http.StatusServiceUnavailable, remedy)
	})
	t.Run("and started again", func(t *testing.T) { ask(t, f.serve(t), http.StatusServiceUnavailable, remedy) })
	seen := 0
	for _, r := range f.backend.Requests() {
		if r.Path != "/backend-api/codex/responses" {
			continue
		}
		seen++
		if value := r.Header.Get("Authorization"); !strings.HasPrefix(value, "AgentAssertion ") {
			t.Errorf("%s was shown %.12q", r.Path, value)
		}
	}
	if seen != 2 {
		t.Errorf("the backend saw %d requests, want the one that it took and the one that it refused", seen)
	}
}

func refuseEverything(t *testing.T, signer string) {
	f := newFixture(t, fixtureConfig{
		scope: `scope: {allow: [codex, {host: "*.chatgpt.com"}, {host: chatgpt-staging.com}, {host: "chatgpt.com:8443"}]}`,
		yaml:  signer,
	})
	address := f.backend.Addr()
	f.edit(t, `"chatgpt.com:443":`, fmt.Sprintf("\"chatgpt.com:8443\": %q\n    \"chatgpt-staging.com:443\": %[1]q\n    \"chatgpt.com:443\":", address))
	p := f.serve(t)
	for _, status := range []int{401, 403, 407} {
		clear := f.backend.Inject(chatgpttest.Fault{Path: "/backend-api/codex/responses", Status: status, Header: http.Header{
			"Www-Authenticate": {`Bearer realm="give me the token"`}, "Proxy-Authenticate": {"Bearer"},
		}})
		for _, host := range []string{"chatgpt.com", "dangling.chatgpt.com", "chatgpt-staging.com", "chatgpt.com:8443"} {
			for _, method := range []string{"POST", "GET"} {
				if r := curl(t, p.env, "https://"+host+"/backend-api/codex/responses", "-X", method); r.Code != status && r.Code != http.StatusServiceUnavailable {
					t.Errorf("%s %s: status %d, want %d, or that it cannot be signed: %s", method, host, r.Code, status, r.body)
				}
			}
		}
		clear()
	}
	seen := 0
	for _, r := range f.backend.Requests() {
		if isRegistration(r) || isKeySet(r) {
			continue
		}
		seen++
		for _, value := range r.Header["Authorization"] {
			if !strings.HasPrefix(value, "AgentAssertion ") {
				t.Errorf("%s %s was shown %.12q", r.Method, r.Host, value)
			}
		}
	}
	if seen < 20 {
		t.Errorf("the backend saw %d requests", seen)
	}
}
