package backend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
)

const baseURL = "https://chatgpt.com/backend-api"

// TestTries repeats what Codex repeats: registrations with the accounts service,
// after answers that may be another the next time.
func TestTries(t *testing.T) {
	t.Parallel()
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	agent := func(ctx context.Context, b *backend.Client) error {
		_, err := b.RegisterAgentByToken(ctx, key, identity.AccessToken{Value: "token"})
		return err
	}
	task := func(ctx context.Context, b *backend.Client) error {
		_, err := b.RegisterTaskByKey(ctx, &identity.Identity{AgentRuntimeID: "a", Key: key})
		return err
	}
	formerAgent := func(ctx context.Context, b *backend.Client) error {
		_, err := b.RegisterAgent(ctx, key, "biscuit")
		return err
	}
	const ok, reset = 200, 0
	for _, test := range []struct {
		name    string
		ask     func(context.Context, *backend.Client) error
		answers []int // the last is repeated
		after   string
		want    int // requests
		fails   bool
	}{
		{"at once", agent, []int{ok}, "", 1, false},
		{"the second time", agent, []int{429, ok}, "", 2, false},
		{"the third time", task, []int{500, 503, ok}, "", 3, false},
		{"after a reset", task, []int{reset, ok}, "", 2, false},
		{"never", agent, []int{502}, "", 3, true},
		{"never reached", task, []int{reset}, "", 3, true},
		{"refused", agent, []int{403}, "", 1, true},
		{"not there", task, []int{404}, "", 1, true},
		{"after a second", task, []int{429, ok}, "1", 2, false},
		{"after a minute, which is for others to wait", task, []int{429, ok}, "60", 1, true},
		{"the first generation tries once", formerAgent, []int{500}, "", 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var waits []time.Duration
			var bodies [][]byte
			backend := backend.New(backend.Config{
				BaseURL: baseURL,
				Wait:    func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil },
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					status := test.answers[min(len(bodies), len(test.answers)-1)]
					body, err := io.ReadAll(r.Body)
					bodies = append(bodies, body)
					if status == reset || err != nil {
						return nil, errors.New("connection reset")
					}
					answer := `{"agent_runtime_id":"a","task_id":"t"}`
					return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {test.after}}, Body: io.NopCloser(strings.NewReader(answer))}, nil
				}),
			})
			err := test.ask(t.Context(), backend)
			if len(bodies) != test.want || (err != nil) != test.fails || len(waits) != test.want-1 {
				t.Errorf("%d requests, waits of %s, error %v; want %d requests", len(bodies), waits, err, test.want)
			}
			for i, wait := range waits {
				least := 100 * time.Millisecond << i
				if test.after == "1" {
					least = time.Second
				}
				if wait < least || wait > 2*time.Second {
					t.Errorf("wait %d is %s, want %s at least", i, wait, least)
				}
			}
			for _, body := range bodies {
				if !bytes.Equal(body, bodies[0]) {
					t.Errorf("sent %s, then %s", bodies[0], body)
				}
			}
		})
	}
}

// TestTimeouts gives up when Codex does.
func TestTimeouts(t *testing.T) {
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for want, ask := range map[time.Duration]func(context.Context, *backend.Client) error{
		3 * 15 * time.Second: func(ctx context.Context, b *backend.Client) error {
			_, err := b.RegisterAgentByToken(ctx, key, identity.AccessToken{Value: "token"})
			return err
		},
		3 * 30 * time.Second: func(ctx context.Context, b *backend.Client) error {
			_, err := b.RegisterTaskByKey(ctx, &identity.Identity{AgentRuntimeID: "a", Key: key})
			return err
		},
		10 * time.Second: func(ctx context.Context, b *backend.Client) error {
			return b.VerifyJWT(ctx, &identity.Record{JWT: "a.b.c"})
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			backend := backend.New(backend.Config{
				BaseURL: baseURL,
				Wait:    func(context.Context, time.Duration) error { return nil },
				Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}),
			})
			start := time.Now()
			err := ask(t.Context(), backend)
			if took := time.Since(start); err == nil || took != want || !strings.Contains(err.Error(), "no answer within") {
				t.Errorf("it took %s, want %s: %v", took, want, err)
			}
		})
	}
}

// TestWhereItIsAsked follows Codex's overrides.
func TestWhereItIsAsked(t *testing.T) {
	t.Parallel()
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	const prod = "https://auth.openai.com/api/accounts"
	for _, test := range []struct {
		base                string
		env                 map[string]string
		agents, jwks, oauth string
	}{
		{baseURL, nil, prod, baseURL + "/wham", "https://auth.openai.com"},
		{"https://chat.openai.com", nil, prod, "https://chat.openai.com/backend-api/wham", "https://auth.openai.com"},
		{"https://gateway.example/chatgpt/backend-api", nil, prod, "https://gateway.example/chatgpt/backend-api/wham", "https://auth.openai.com"},
		{"https://chatgpt-staging.com/backend-api", nil, "https://auth.api.openai.org/api/accounts", "https://chatgpt-staging.com/backend-api/wham", "https://auth.openai.com"},
		{"https://a.chatgpt-staging.com", nil, "https://auth.api.openai.org/api/accounts", "https://a.chatgpt-staging.com", "https://auth.openai.com"},
		{"https://chatgpt-staging.com.example", nil, prod, "https://chatgpt-staging.com.example", "https://auth.openai.com"},
		{"http://127.0.0.1:7000/backend-api", nil, "http://127.0.0.1:7000/backend-api", "http://127.0.0.1:7000/backend-api/wham", "https://auth.openai.com"},
		{baseURL, map[string]string{"CODEX_AUTHAPI_BASE_URL": " https://a.example/x/ "}, "https://a.example/x", baseURL + "/wham", "https://auth.openai.com"},
		{baseURL, map[string]string{"CODEX_AUTHAPI_BASE_URL": "https://a.example", "CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": "https://b.example"}, "https://b.example", baseURL + "/wham", "https://auth.openai.com"},
		{baseURL, map[string]string{"CODEX_AGENT_IDENTITY_JWKS_BASE_URL": "https://c.example"}, prod, "https://c.example", "https://auth.openai.com"},
		{baseURL, map[string]string{"CODEX_REFRESH_TOKEN_URL_OVERRIDE": "https://d.example/oauth/token"}, prod, baseURL + "/wham", "https://d.example"},
		{baseURL, map[string]string{"CODEX_REFRESH_TOKEN_URL_OVERRIDE": "http://localhost:1/oauth/token?unified=true"}, prod, baseURL + "/wham", "http://localhost:1"},
	} {
		overrides, err := backend.OverridesFrom(func(name string) string { return test.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		backend := backend.New(backend.Config{BaseURL: test.base, Overrides: overrides, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			r.URL.RawQuery = ""
			asked = append(asked, r.URL.String())
			return nil, context.Canceled
		}), Wait: func(context.Context, time.Duration) error { return context.Canceled }})
		_, _ = backend.RegisterAgentByToken(t.Context(), key, identity.AccessToken{Value: "token"})
		_, _ = backend.RegisterTaskByKey(t.Context(), &identity.Identity{AgentRuntimeID: "id", Key: key})
		_ = backend.VerifyJWT(t.Context(), &identity.Record{JWT: "a.b.c"})
		_ = backend.Revoke(t.Context(), "refresh-token")
		want := []string{test.agents + "/v1/agent/register", test.agents + "/v1/agent/id/task/register", test.jwks + "/agent-identities/jwks", test.oauth + "/oauth/revoke"}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("%s with %v: asked\n%s, want\n%s", test.base, test.env, asked, want)
		}
	}
	for name, value := range map[string]string{
		"CODEX_AUTHAPI_BASE_URL":                "http://auth.example/api",
		"CODEX_AGENT_IDENTITY_AUTHAPI_BASE_URL": "ftp://auth.example",
		"CODEX_AGENT_IDENTITY_JWKS_BASE_URL":    "https://user:pass@auth.example",
		"CODEX_REFRESH_TOKEN_URL_OVERRIDE":      "auth.example",
		"CODEX_REVOKE_TOKEN_URL_OVERRIDE":       "http://auth.example/?x",
	} {
		_, err := backend.OverridesFrom(func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s=%s: error %v", name, value, err)
		}
	}
}
