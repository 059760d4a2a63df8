package admin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

func missed(method, path string, sent bool) proxy.Outcome {
	entry := signer.ScopeEntry{Match: signer.Match{Host: "chatgpt.com", Methods: []string{method}, Path: path}}
	return proxy.Outcome{Client: "build-1", OutOfScope: &proxy.OutOfScope{
		Reason: signer.ReasonPath, Host: "chatgpt.com:443", Method: method, Path: path, Allow: entry.String(), Sent: sent,
	}}
}

// TestMisses counts what is the same but for ids together, and has lines that can be
// pasted.
func TestMisses(t *testing.T) {
	t.Parallel()
	ms := recent[miss]{most: maxMisses}
	ms.add(missOf(missed("GET", "/backend-api/me", true)))
	ms.add(missOf(missed("GET", "/backend-api/conversation/6734e2a1-88f0-8007-9d6c-1f2f3a4b5c6d", true)))
	ms.add(missOf(missed("GET", "/backend-api/conversation/77777777-88f0-8007-9d6c-1f2f3a4b5c6d", true)))
	ms.add(missOf(missed("GET", "/backend-api/me", true)))
	list := ms.latest()
	if len(list) != 2 || list[0].Path != "/backend-api/me" || list[0].Count != 2 || list[1].Count != 2 || list[1].Path != "/backend-api/conversation/*" {
		t.Fatalf("%+v", list)
	}
	s := Status{OutOfScope: list}
	want := "    - {host: chatgpt.com, methods: [GET], path: \"/backend-api/conversation/*\"}\n    - {host: chatgpt.com, methods: [GET], path: /backend-api/me}\n"
	if got := s.Widening(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// What is pasted is a configuration, and allows what was out of scope.
	c, err := config.Load(configtest.Write(t, "scope:\n  allow:\n    - codex\n"+s.Widening()), configtest.Environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	scope, _, err := c.Agent.Scope.New(c.BaseURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	q := signer.Query{Host: "chatgpt.com", Port: "443", Method: "GET", Path: "/backend-api/conversation/77777777-88f0-8007-9d6c-1f2f3a4b5c6d"}
	if d := scope.Decide(t.Context(), q); !d.Allowed() {
		t.Errorf("%+v", d)
	}
}

// TestMissesAreBounded remembers no more than so much, however much is asked for.
func TestMissesAreBounded(t *testing.T) {
	t.Parallel()
	ms := recent[miss]{most: maxMisses}
	for i := range 3 * maxMisses {
		o := missed("GET", "/"+strings.Repeat(string(rune('a'+i%26)), i%7+1)+fmt.Sprint(i), false)
		o.Time = time.Unix(int64(i), 0)
		ms.add(missOf(o))
	}
	ms.add(missOf(missed("GET", "/"+strings.Repeat("x/", 60_000), false)))
	list := ms.latest()
	if len(list) != maxMisses || len(list[0].Path) > maxShown+4 || list[0].Allow != "" {
		t.Errorf("%d, the last of %d bytes", len(list), len(list[0].Path))
	}
}

func TestWithoutIDs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/backend-api/gizmos/g-2fkFE8rbu":                         "/backend-api/gizmos/g-2fkFE8rbu",
		"/backend-api/files/file-7Kq0001abc/download":             "/backend-api/files/*/download",
		"/backend-api/share/6734e2a1-88f0-8007-9d6c-1f2f3a4b5c6d": "/backend-api/share/*",
		"/backend-api/authenticate_app_v2":                        "/backend-api/authenticate_app_v2",
		"/v1/models/gpt-5":                                        "/v1/models/gpt-5",
	} {
		if got := withoutIDs(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
