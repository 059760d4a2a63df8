package signer

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// recorded is what requests.json says of a kind of request.
type recorded struct {
	Host, Method, Path string
	Sent               []sent
}

type sent struct {
	Mode, Credential string
	Versions         []string
}

func recordedRequests(t testing.TB) []recorded {
	t.Helper()
	raw, err := os.ReadFile("testdata/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Requests []recorded }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Requests) < 20 {
		t.Fatalf("%d requests", len(file.Requests))
	}
	return file.Requests
}

// TestScopeOfCodex has the scope allow what Codex itself was seen to send, with
// the credential that it put on it, and nothing by which agents come to be.
func TestScopeOfCodex(t *testing.T) {
	t.Parallel()
	const mode = "chatgpt, use_agent_identity on"
	s := mustScope(t, WordCodex)
	for _, r := range recordedRequests(t) {
		name := r.Method + " " + r.Host + r.Path
		d := s.Decide(t.Context(), query(r.Method, "https://"+r.Host+strings.ReplaceAll(r.Path, "*", "id-1")))
		switch {
		case !strings.HasSuffix(r.Host, "chatgpt.com"):
			if d.Allowed() {
				t.Errorf("%s, a tunnel: %+v", name, d)
			}
		case strings.Contains(r.Path, "/v1/agent/"), strings.HasSuffix(r.Path, "/authenticate_app_v2"):
			if d.Allowed() || d.Reason != ReasonBootstrap {
				t.Errorf("%s: %+v", name, d)
			}
		case !d.Allowed():
			t.Errorf("%s: %+v", name, d)
		default:
			for _, sent := range r.Sent {
				// By a log-in that has tokens, in the version that does it as all later ones do.
				if sent.Mode != mode || !slices.ContainsFunc(sent.Versions, func(v string) bool { return v > "0.13" }) {
					continue
				}
				want := map[string]Kind{"AgentAssertion+account": KindInference, "Bearer+account": KindAccount, "none": KindNone}[sent.Credential]
				if d.Kind != want {
					t.Errorf("%s: %s, but Codex sends %s", name, d.Kind, sent.Credential)
				}
			}
			none := !slices.ContainsFunc(r.Sent, func(s sent) bool { return s.Credential != "none" })
			if none != (d.Kind == KindNone) {
				t.Errorf("%s: %s, but Codex sends %v", name, d.Kind, r.Sent)
			}
		}
	}
}

// TestRowsOfCodex tries each row that no recorded request shows, and its
// neighbours.
func TestRowsOfCodex(t *testing.T) {
	t.Parallel()
	s := mustScope(t, WordCodex)
	for _, test := range []struct {
		method, url, upgrade string
		kind                 Kind // KindUnknown: refused
		reason               Reason
	}{
		{"GET", "https://chatgpt.com/backend-api/codex/responses", "websocket", KindInference, ""},
		{"GET", "https://chatgpt.com/backend-api/codex/responses", "WebSocket", KindInference, ""},
		{"GET", "https://chatgpt.com/backend-api/codex/responses", "h2c", KindUnknown, ReasonUpgrade},
		{"GET", "https://chatgpt.com/backend-api/codex/responses", "websocket, h2c", KindUnknown, ReasonUpgrade},
		{"POST", "https://chatgpt.com/backend-api/codex/responses", "websocket", KindUnknown, ReasonUpgrade},
		{"POST", "https://chatgpt.com/backend-api/codex/responses", "", KindInference, ""},
		{"POST", "https://chatgpt.com/backend-api/codex/responses/compact", "", KindInference, ""},
		{"POST", "https://chatgpt.com/backend-api/codex/responses/a/b", "", KindAccount, ""},
		{"DELETE", "https://chatgpt.com/backend-api/codex/responses", "", KindAccount, ""},
		{"GET", "https://chatgpt.com/backend-api/codex/models", "websocket", KindUnknown, ReasonUpgrade},
		{"GET", "https://chatgpt.com/backend-api/codex", "", KindUnknown, ReasonPath},
		{"OPTIONS", "https://chatgpt.com/backend-api/codex/models", "", KindUnknown, ReasonMethod},
		{"HEAD", "https://chatgpt.com/backend-api/codex/models", "", KindUnknown, ReasonMethod},
		{"get", "https://chatgpt.com/backend-api/codex/models", "", KindUnknown, ReasonMethod},

		{"GET", "https://chatgpt.com/backend-api/wham/remote/control/server", "websocket", KindClient, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/pair", "", KindClient, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/pair/status", "", KindClient, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/pairing-code", "", KindClient, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/enroll", "", KindAccount, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/refresh", "", KindAccount, ""},
		{"DELETE", "https://chatgpt.com/backend-api/wham/remote/control/server/enroll", "", KindUnknown, ReasonPath},
		{"GET", "https://chatgpt.com/backend-api/wham/remote/control/client", "websocket", KindUnknown, ReasonPath},
		{"GET", "https://chatgpt.com/backend-api/wham/Remote/control/client", "websocket", KindUnknown, ReasonPath},
		{"POST", "https://chatgpt.com/backend-api/wham/remote/control/server/pair/x", "", KindUnknown, ReasonPath},

		{"GET", "https://chatgpt.com/backend-api/plugins/export/curated", "", KindNone, ""},
		{"GET", "https://chatgpt.com/backend-api/wham/agent-identities/jwks", "", KindNone, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/agent-identities", "", KindAccount, ""},
		{"POST", "https://chatgpt.com/backend-api/wham/agent-identities/jwks", "", KindUnknown, ReasonPath},
		{"POST", "https://ab.chatgpt.com/otlp/v1/metrics", "", KindNone, ""},
		{"POST", "https://ab.chatgpt.com/otlp/v1/logs", "", KindUnknown, ReasonPath},
		{"POST", "https://ab.chatgpt.com/backend-api/codex/responses", "", KindUnknown, ReasonPath},
		{"POST", "https://ab.chatgpt.com:8443/otlp/v1/metrics", "", KindUnknown, ReasonHost},

		{"POST", "https://chatgpt.com/backend-api/files", "", KindAccount, ""},
		{"GET", "https://chatgpt.com/backend-api/files", "", KindUnknown, ReasonMethod},
		{"GET", "https://chatgpt.com/backend-api/files/file-1", "", KindAccount, ""},
		{"DELETE", "https://chatgpt.com/backend-api/files/file-1", "", KindUnknown, ReasonMethod},
		{"POST", "https://chatgpt.com/backend-api/files/file-1/uploaded", "", KindAccount, ""},
		{"GET", "https://chatgpt.com/backend-api/files/file-1/download", "", KindUnknown, ReasonPath},
		{"PATCH", "https://chatgpt.com/backend-api/codex/settings/user", "", KindAccount, ""},
		{"GET", "https://chatgpt.com/backend-api/realtime/x", "", KindAccount, ""},
		{"GET", "https://chatgpt.com/backend-api//connectors//directory/list/", "", KindAccount, ""},

		{"POST", "https://chatgpt.com:8443/backend-api/codex/responses", "", KindUnknown, ReasonHost},
		{"POST", "https://chatgpt-staging.com/backend-api/codex/responses", "", KindUnknown, ReasonHost},
		{"POST", "https://gov.chatgpt.com/backend-api/codex/responses", "", KindUnknown, ReasonHost},
		{"POST", "https://chatgpt.com/codex/responses", "", KindUnknown, ReasonPath},
		{"POST", "https://chatgpt.com/v2/backend-api/codex/responses", "", KindUnknown, ReasonPath},
	} {
		q := query(test.method, test.url)
		q.Upgrade = test.upgrade
		if d := s.Decide(t.Context(), q); d.Kind != test.kind || d.Reason != test.reason {
			t.Errorf("%s %s %s: %s %q, want %s %q", test.method, test.url, test.upgrade, d.Kind, d.Reason, test.kind, test.reason)
		}
	}
}
