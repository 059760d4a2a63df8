package admin

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/signer"
)

// adminOf opens a proxy that has prepared nothing yet, and returns what asks its admin
// listener.
func adminOf(t *testing.T, config string) (get func(path string) *httptest.ResponseRecorder) {
	t.Helper()
	m := NewMetrics()
	r, err := app.NewReloader(configtest.Write(t, config+"admin_token: sesame\n"), configtest.Environment(nil), io.Discard, m)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.NewProxy()
	if err != nil {
		t.Fatal(err)
	}
	handler := newHandler(r, m, http.NotFoundHandler())
	t.Cleanup(func() {
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		r.Close()
	})
	return func(path string) *httptest.ResponseRecorder {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Authorization", "Bearer sesame")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request)
		return w
	}
}

// TestReadingRegistersNothing reads all that the admin listener shows. Only /readyz, which
// asks whether a request would be signed, registers what one needs.
func TestReadingRegistersNothing(t *testing.T) {
	t.Parallel()
	server, config := configtest.Backend(t)
	get := adminOf(t, config)
	for _, path := range []string{"/", "/status.json", "/metrics", "/healthz", "/style.css"} {
		if w := get(path); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if paths := configtest.Registrations(server); len(paths) > 0 {
		t.Fatalf("registered by reading: %q", paths)
	}
	if w := get("/readyz"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "AgentAssertion") {
		t.Errorf("/readyz: %d %s", w.Code, w.Body)
	}
	if paths := configtest.Registrations(server); len(paths) != 2 {
		t.Errorf("registered for /readyz: %q", paths)
	}
}

// TestKnownState has what the status and the metrics say before and after a request was
// signed, or was not.
func TestKnownState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, keys    string
		before, after signer.Scheme
		code          signer.Code // after
	}{
		{"auto", "", "Bearer", "AgentAssertion", ""},
		{"assertion", "signer: {use: agent-assertion}\n", "", "AgentAssertion", ""},
		{"bearer", "signer: {use: bearer}\n", "Bearer", "Bearer", ""},
		{"a command", "signer: {use: command, command: [echo, sekret]}\n", "Bearer", "Bearer", ""},
		{"a command that fails", "signer: {use: command, command: ['false']}\n", "Bearer", "", signer.CommandFailed},
		{"a token that is missing", "signer: {use: token, token_env: NOWHERE}\n", "Bearer", "", signer.TokenMissing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, config := configtest.Backend(t)
			get := adminOf(t, config+test.keys)
			state := func() agentStatus {
				t.Helper()
				var s Status
				if err := json.Unmarshal(get("/status.json").Body.Bytes(), &s); err != nil || len(s.Agents) != 1 {
					t.Fatalf("%+v, %v", s, err)
				}
				want := "agentproxy_ready{profile=\"\"} 0\n"
				if s.Agents[0].Ready {
					want = "agentproxy_ready{profile=\"\"} 1\n"
				}
				if metrics := get("/metrics").Body.String(); !strings.Contains(metrics, want) {
					t.Errorf("the metrics do not say %s", want)
				}
				return s.Agents[0]
			}
			if got := state(); got.Scheme != test.before || got.Ready != (test.before != "") {
				t.Errorf("before: %+v, want %q", got, test.before)
			}
			get("/readyz")
			if got := state(); got.Scheme != test.after || got.Code != test.code || got.Ready != (test.after != "") {
				t.Errorf("after: %+v, want %q %s", got, test.after, test.code)
			}
		})
	}
}
