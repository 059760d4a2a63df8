//go:build linux

package integration

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// codexMode is how a Codex is logged in, in the words of
// testdata/codex/requests.json.
type codexMode string

const (
	modeTokens    codexMode = "chatgpt"                        // tokens alone
	modeIdentity  codexMode = "chatgpt, use_agent_identity on" // tokens and an agent of the second generation
	modeAgentOnly codexMode = "agentIdentity, no tokens"       // an agent of the second generation alone
)

// recordedRequest is a request of unmodified Codex, and what that put on it.
type recordedRequest struct {
	Host, Method, Path string
	Sent               []struct {
		Mode       codexMode
		Credential string
		Versions   []string
	}
}

// recordedRequests reads what was recorded of eighteen versions of Codex.
func recordedRequests(t *testing.T) []recordedRequest {
	t.Helper()
	var file struct{ Requests []recordedRequest }
	if err := json.Unmarshal([]byte(readRecorded()), &file); err != nil {
		t.Fatal(err)
	}
	return file.Requests
}

// codexCredential returns the credential that Codex itself puts on a request, in
// the words of the record: what the newest version was seen to send, else what its
// table of kinds says.
func codexCredential(t *testing.T, mode codexMode, host, method, path string) string {
	t.Helper()
	for _, r := range recordedRequests(t) {
		if r.Host != host || r.Method != method || r.Path != path {
			continue
		}
		credential, newest := "", ""
		for _, sent := range r.Sent {
			if v := slices.Max(sent.Versions); sent.Mode == mode && v > newest { // all are 0.1xx
				credential, newest = sent.Credential, v
			}
		}
		if newest > "0.142" { // of the second generation
			return credential
		}
	}
	account, inference := "Bearer+account", "Bearer+account"
	switch mode {
	case modeIdentity:
		inference = "AgentAssertion+account"
	case modeAgentOnly:
		account, inference = "AgentAssertion+account", "AgentAssertion+account"
	}
	rest, backend := strings.CutPrefix(path, "/backend-api/")
	rest = strings.TrimPrefix(rest, "/")
	switch {
	case !backend || rest == "plugins/export/curated" || rest == "wham/agent-identities/jwks":
		return "none"
	case method == http.MethodHead && rest == "codex/responses": // of codex doctor
		return "none"
	case rest == "codex/responses", strings.HasPrefix(rest, "codex/responses/"):
		return inference
	case rest == "wham/remote/control/server", strings.HasPrefix(rest, "wham/remote/control/server/pair"):
		return chatgpttest.SchemeRemoteControl
	}
	return account
}

// sentCredential says in the same words what came with a request.
func sentCredential(r chatgpttest.Request) string {
	authorization := r.Header["Authorization"]
	credential := "none"
	if len(authorization) > 0 {
		credential, _, _ = strings.Cut(strings.Join(authorization, ", "), " ")
	}
	if r.Auth.Scheme == chatgpttest.SchemeRemoteControl {
		credential = chatgpttest.SchemeRemoteControl
	}
	if len(r.Header["Chatgpt-Account-Id"]) > 0 {
		credential += "+account"
	}
	return credential
}

// checkAsCodex fails the test unless each request of a client that reached the
// backend came with the credential that Codex itself sends there, was answered,
// and holds nothing of the placeholder. It returns these requests.
func (f *fixture) checkAsCodex(t *testing.T, mode codexMode, placeholder []string) []chatgpttest.Request {
	t.Helper()
	var requests []chatgpttest.Request
	eventually(t, "the end of all exchanges", func() bool {
		requests = f.backend.Requests()
		return !slices.ContainsFunc(requests, func(r chatgpttest.Request) bool { return !r.Done })
	})
	checkNowhere(t, requests, placeholder)
	for _, unwanted := range f.backend.Unwanted() {
		t.Error(unwanted)
	}
	// What the proxy asks by itself, no client does.
	requests = slices.DeleteFunc(requests, func(r chatgpttest.Request) bool { return r.Host == "auth.openai.com" })
	if len(requests) == 0 {
		t.Error("no request reached the backend")
	}
	for _, r := range requests {
		what := r.Method + " " + r.Host + r.Path
		if want, got := codexCredential(t, mode, r.Host, r.Method, r.Path), sentCredential(r); got != want {
			t.Errorf("%s came with %s, Codex sends %s", what, got, want)
		}
		if r.Cut {
			continue // Codex has ended meanwhile
		}
		// Doctor takes any answer to HEAD, and 426 leads from the WebSocket to POST.
		if r.Status >= 400 && r.Method != http.MethodHead && r.Status != http.StatusUpgradeRequired {
			t.Errorf("%s: status %d %s", what, r.Status, r.Auth.Reason)
		}
	}
	return requests
}

// readRecorded reads the record once for all tests.
var readRecorded = sync.OnceValue(func() string { return mustReadFile("testdata/codex/requests.json") })
