package proxy

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// placeholder is the token that a client behind the proxy is given to hold.
func placeholder(t testing.TB) string {
	t.Helper()
	file, err := codex.Placeholder(identity.Account{WorkspaceID: proxytest.Account}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var auth struct {
		Tokens struct {
			AccessToken string `json:"access_token"`
		}
	}
	if err := json.Unmarshal(file, &auth); err != nil || auth.Tokens.AccessToken == "" {
		t.Fatalf("%s: %v", file, err)
	}
	return auth.Tokens.AccessToken
}

// TestCredentialHeaders says what becomes of the headers that carry or belong
// to a credential.
func TestCredentialHeaders(t *testing.T) {
	t.Parallel()
	const mine, assertion = "Bearer the-client's-own", "AgentAssertion envelope"
	type header = map[string][]string
	asserted := &signer.Authorization{Value: assertion, Scheme: signer.SchemeAssertion}
	keep := &signer.Authorization{Scheme: signer.SchemeNone, PassThrough: true}
	ours := header{"Authorization": {"Bearer " + proxytest.AccessToken}, "Chatgpt-Account-Id": {proxytest.Account}}
	for _, test := range []struct {
		name string
		auth *signer.Authorization
		sent header
		want header
	}{
		{"nothing sent", proxytest.Bearer(), nil, ours},
		{
			"all replaced", proxytest.Bearer(),
			header{"Authorization": {mine}, "ChatGPT-Account-ID": {"other"}, "X-OpenAI-Fedramp": {"true"}},
			ours,
		},
		{
			"in any case", proxytest.Bearer(),
			header{"authorization": {mine}, "CHATGPT-ACCOUNT-ID": {"other"}, "x-openai-fedramp": {"true"}},
			ours,
		},
		{
			"repeated", proxytest.Bearer(),
			header{"Authorization": {mine, mine}, "ChatGPT-Account-ID": {"a", "b"}, "X-OpenAI-Fedramp": {"true", "1"}},
			ours,
		},
		{
			"an assertion has no account", asserted,
			header{"Authorization": {mine}, "ChatGPT-Account-ID": {"other"}},
			header{"Authorization": {assertion}},
		},
		{
			"an assertion of the second generation has one",
			&signer.Authorization{Value: assertion, Scheme: signer.SchemeAssertion, AccountID: proxytest.Account},
			header{"ChatGPT-Account-ID": {"other"}},
			header{"Authorization": {assertion}, "Chatgpt-Account-Id": {proxytest.Account}},
		},
		{
			"FedRAMP and an assertion",
			&signer.Authorization{Value: assertion, Scheme: signer.SchemeAssertion, FedRAMP: true},
			header{"X-OpenAI-Fedramp": {"false"}},
			header{"Authorization": {assertion}, "X-Openai-Fedramp": {"true"}},
		},
		{
			"FedRAMP and a token",
			&signer.Authorization{Value: "Bearer t", Scheme: signer.SchemeBearer, AccountID: proxytest.Account, FedRAMP: true},
			nil,
			header{"Authorization": {"Bearer t"}, "Chatgpt-Account-Id": {proxytest.Account}, "X-Openai-Fedramp": {"true"}},
		},
		{
			"none", &signer.Authorization{Scheme: signer.SchemeNone},
			header{"Authorization": {mine}, "ChatGPT-Account-ID": {"other"}, "X-OpenAI-Fedramp": {"true"}, "x-openai-authorization": {"biscuit"}},
			nil,
		},
		{
			"in other spellings", proxytest.Bearer(),
			header{
				"chatgpt_account_id": {"other"}, "ChatGPT-Account_ID": {"other"}, "X_OpenAI_Fedramp": {"true"}, "x-openai_fedramp": {"true"},
				"X-OpenAI-Agent-Assertion": {"jws"}, "x_openai_agent_assertion": {"jws"}, "X-OpenAI-Authorization": {"biscuit"}, "x_openai-authorization": {"biscuit"},
			},
			ours,
		},
		{
			"another scheme", &signer.Authorization{Value: "Custom x", Scheme: signer.SchemeOther},
			header{"ChatGPT-Account-ID": {"other"}},
			header{"Authorization": {"Custom x"}},
		},
		{
			"kept", keep,
			header{"Authorization": {mine}, "ChatGPT-Account-ID": {"other"}, "X-OpenAI-Fedramp": {"true"}},
			header{"Authorization": {mine}, "Chatgpt-Account-Id": {"other"}, "X-Openai-Fedramp": {"true"}},
		},
		{
			"kept, but for a placeholder", keep,
			header{"Authorization": {"Bearer " + placeholder(t)}, "ChatGPT-Account-ID": {proxytest.Account}},
			header{"Chatgpt-Account-Id": {proxytest.Account}},
		},
		{
			"a placeholder among others", keep,
			header{"Authorization": {mine, "bearer  " + placeholder(t)}},
			nil,
		},
		{
			"the proxy's own credential inside the tunnel", proxytest.Bearer(),
			header{"Proxy-Authorization": {"Basic c2VjcmV0"}},
			ours,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxytest.EachWay(t, func(t *testing.T, client, server string) {
				arrived := make(chan http.Header, 1)
				backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) { arrived <- r.Header })
				p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Signer = proxytest.FixedSigner{Auth: test.auth} })
				r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
				for name, values := range test.sent {
					r.Header[name] = values
				}
				proxytest.Do(t, p.client(t, client), r)
				got := <-arrived
				for name := range got {
					if test.want[name] == nil && strings.Contains(strings.ToLower(name), "openai") || strings.Contains(name, "_") {
						t.Errorf("%s: %q", name, got[name])
					}
				}
				for _, name := range []string{"Authorization", "Chatgpt-Account-Id", "X-Openai-Fedramp", "Proxy-Authorization"} {
					if !slices.Equal(got[name], test.want[name]) {
						t.Errorf("%s: %q, want %q", name, got[name], test.want[name])
					}
				}
			})
		})
	}
}

// TestConnectionStripsNothingOfOurs names our headers as those of one hop.
func TestConnectionStripsNothingOfOurs(t *testing.T) {
	t.Parallel()
	address, heads := newRecorder(t)
	p := startProxy(t, address, func(c *Config) {
		auth := proxytest.Bearer()
		auth.FedRAMP = true
		c.Signer = proxytest.FixedSigner{Auth: auth}
	})
	c := p.intercepted(t)
	for _, connection := range []string{
		"Authorization", "authorization, ChatGPT-Account-ID, X-OpenAI-Fedramp", "close, Authorization",
	} {
		c.Send(t, "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: %s\r\nAuthorization: mine\r\n\r\n", connection)
		if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusNoContent {
			t.Fatal(res.Status)
		}
		head := <-heads
		for _, want := range []string{"Authorization: Bearer " + proxytest.AccessToken, "Chatgpt-Account-Id: " + proxytest.Account, "X-Openai-Fedramp: true"} {
			if !slices.Contains(head, want) {
				t.Errorf("Connection: %s: no %s in %q", connection, want, head)
			}
		}
	}
}

// TestSignerIsAsked for the host, the path and the label of every request.
func TestSignerIsAsked(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		address, _ := countingBackend(t)
		asked := make(chan signer.Request, 1)
		p := startProxy(t, address, func(c *Config) {
			c.Clients.Token = "token"
			c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
				asked <- r
				return proxytest.Bearer(), nil
			})
		})
		label := "build-" + proto
		proxytest.Get(t, p.clientAs(t, proto, url.UserPassword(label, "token")), proxytest.Origin+"/a%2Fb//c?secret=1")
		if got, want := <-asked, (signer.Request{Host: proxytest.Host, Method: "GET", Path: "/a%2Fb//c", Kind: signer.KindAccount, Label: label}); got != want {
			t.Errorf("asked for %+v, want %+v", got, want)
		}
	})
}
