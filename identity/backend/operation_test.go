package backend_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
)

// answering is a transport with one answer.
type answering struct {
	status int
	body   string
	err    error
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// TestOperationResults has every request to the backend told with what came of
// it, in words that are not the backend's.
func TestOperationResults(t *testing.T) {
	t.Parallel()
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	registerAgent := func(ctx context.Context, b *backend.Client) error {
		_, err := b.RegisterAgent(ctx, key, "biscuit")
		return err
	}
	for _, test := range []struct {
		name   string
		answer answering
		ask    func(context.Context, *backend.Client) error
		want   string
	}{
		{"registered", answering{200, `{"agent_runtime_id": "a"}`, nil}, registerAgent, "register_agent ok"},
		{"refused", answering{403, `{"error": {"code": "refresh_token_reused"}}`, nil}, registerAgent, "register_agent refused"},
		{"down", answering{502, "", nil}, registerAgent, "register_agent failed"},
		{"redirected", answering{302, "", nil}, registerAgent, "register_agent failed"},
		{"not understood", answering{200, `{}`, nil}, registerAgent, "register_agent failed"},
		{"not reached", answering{err: errors.New("no route")}, registerAgent, "register_agent no_answer"},
		{"given up", answering{err: context.Canceled}, registerAgent, "register_agent canceled"},
		{"no biscuit", answering{200, "", nil}, func(ctx context.Context, b *backend.Client) error {
			_, err := b.Biscuit(ctx, "token", "https://chatgpt.com/")
			return err
		}, "biscuit failed"},
		{"a task", answering{200, `{"task_id": "t"}`, nil}, func(ctx context.Context, b *backend.Client) error {
			_, err := b.RegisterTask(ctx, &identity.Identity{AgentRuntimeID: "a", Key: key}, "")
			return err
		}, "register_task ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			told := ""
			backend := backend.New(backend.Config{
				BaseURL: "https://chatgpt.com/backend-api", Transport: test.answer,
				Observe: func(o backend.Operation, r backend.Result) { told += string(o) + " " + string(r) },
			})
			err := test.ask(t.Context(), backend)
			if told != test.want || (err == nil) != strings.HasSuffix(test.want, " ok") {
				t.Errorf("told %q with the error %v, want %q", told, err, test.want)
			}
		})
	}
}
