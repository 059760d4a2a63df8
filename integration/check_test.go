//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// checkSigned fails the test unless every request of a client that reached the
// backend came with a credential of the given scheme, and the backend was content
// with it. It returns these requests.
func (f *fixture) checkSigned(t *testing.T, scheme string) []chatgpttest.Request {
	t.Helper()
	var requests []chatgpttest.Request
	eventually(t, "the end of all exchanges", func() bool {
		requests = f.backend.Requests()
		return !slices.ContainsFunc(requests, func(r chatgpttest.Request) bool { return !r.Done })
	})
	// A run that ends breaks off the registration that it has begun for its label.
	requests = slices.DeleteFunc(requests, func(r chatgpttest.Request) bool { return isRegistration(r) && (r.Auth.OK || r.Cut) || isKeySet(r) })
	if len(requests) == 0 {
		t.Error("no request reached the backend")
	}
	for _, r := range requests {
		what := r.Method + " " + r.Host + r.Path
		if isUnsigned(r) {
			if authorization := r.Header["Authorization"]; authorization != nil || r.Header["Chatgpt-Account-Id"] != nil {
				t.Errorf("%s, to which Codex adds no credential: Authorization is %.40q", what, authorization)
			}
			continue
		}
		if !r.Auth.OK {
			t.Errorf("%s: the backend refused the credential: %s", what, r.Auth.Reason)
		}
		// The backend looks at no credential outside of backend-api.
		if r.Auth.Scheme != scheme && (r.Auth.Scheme != "" || strings.HasPrefix(r.Path, "/backend-api/")) {
			t.Errorf("%s: verified as %q, want %s", what, r.Auth.Scheme, scheme)
		}
		authorization := r.Header["Authorization"]
		if len(authorization) != 1 || !strings.HasPrefix(authorization[0], scheme+" ") {
			t.Errorf("%s: Authorization is %.40q, want one %s", what, authorization, scheme)
		}
		// Beside an assertion the backend holds it to the generation of the agent.
		got := r.Header["Chatgpt-Account-Id"]
		if !slices.Equal(got, []string{f.login.WorkspaceID}) && (scheme == chatgpttest.SchemeBearer || got != nil) {
			t.Errorf("%s: ChatGPT-Account-ID is %q, want %q", what, got, f.login.WorkspaceID)
		}
	}
	return requests
}

// isUnsigned reports whether r is a request to which Codex adds no credential.
func isUnsigned(r chatgpttest.Request) bool {
	return r.Host == "ab.chatgpt.com" && r.Path == "/otlp/v1/metrics" || r.Path == "/backend-api/plugins/export/curated"
}

// isRegistration reports whether r is a request by which the proxy itself gets a
// task for a session. No client of these tests makes any.
func isRegistration(r chatgpttest.Request) bool {
	return strings.HasSuffix(r.Path, "/authenticate_app_v2") || strings.HasSuffix(r.Path, "/task/register")
}

// isKeySet reports whether r asks for the public keys that a JWT is verified with,
// as the proxy does before it uses one.
func isKeySet(r chatgpttest.Request) bool { return strings.HasSuffix(r.Path, "/agent-identities/jwks") }

// placeholderTokens returns the tokens in a placeholder auth.json.
func placeholderTokens(t *testing.T, authJSON []byte) []string {
	t.Helper()
	var auth struct {
		Tokens map[string]string `json:"tokens"`
	}
	if err := json.Unmarshal(authJSON, &auth); err != nil {
		t.Fatal(err)
	}
	var tokens []string
	for _, name := range []string{"id_token", "access_token", "refresh_token"} {
		if token := auth.Tokens[name]; token != "" {
			tokens = append(tokens, token)
		}
	}
	if len(tokens) == 0 {
		t.Fatalf("no token in the placeholder: %s", authJSON)
	}
	return tokens
}

// checkNowhere fails the test if any part of a request holds one of the strings.
func checkNowhere(t *testing.T, requests []chatgpttest.Request, needles []string) {
	t.Helper()
	for _, r := range requests {
		parts := append([][]byte{[]byte(r.RequestURI), r.Body}, r.Messages...)
		for name, values := range r.Header {
			parts = append(parts, []byte(name+": "+strings.Join(values, "\n")))
		}
		for _, part := range parts {
			for _, needle := range needles {
				if bytes.Contains(part, []byte(needle)) {
					t.Errorf("%s %s: the placeholder token reached the backend", r.Method, r.Path)
				}
			}
		}
	}
}

// logRequests tells what reached the backend.
func logRequests(t *testing.T, backend *chatgpttest.Server) {
	t.Helper()
	for _, r := range backend.Requests() {
		t.Logf("backend: %s %s %s%s: %q %s, status %d, done %t",
			r.Proto, r.Method, r.Host, r.RequestURI, r.Auth.Scheme, r.Auth.Reason, r.Status, r.Done)
	}
}
