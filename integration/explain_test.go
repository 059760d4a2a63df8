//go:build linux

package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestExplain asks for each code that the program may answer with, and for what is none.
func TestExplain(t *testing.T) {
	t.Parallel()
	list := mustRun(t, baseEnv(t), agentproxy, "explain")
	document := strings.Join(strings.Fields(readFile(t, "../docs/troubleshooting.md")), " ")
	for _, code := range slices.Sorted(maps.Keys(codesInSources(t))) {
		if !strings.Contains(list, "\n  "+code+" ") {
			t.Errorf("explain does not list %s", code)
		}
		out := mustRun(t, baseEnv(t), agentproxy, "explain", code)
		title, text, _ := strings.Cut(out, "\n\n")
		name, _, _ := strings.Cut(title, " ")
		first, _, _ := strings.Cut(text, "\n")
		if name != code || len(first) < 15 || !strings.Contains(first, "docs/") && !strings.Contains(document, strings.TrimSpace(first)) {
			t.Errorf("explain %s: %q", code, out)
		}
	}
	if out := mustRun(t, baseEnv(t), agentproxy, "explain", "407"); out != "The client and the proxy\n  proxy_auth_required      407\n  bad_label                400, 407\n" {
		t.Error(out)
	}
	for typed, want := range map[string]string{
		"out_of_skope": "agentproxy: there is no code \"out_of_skope\"; did you mean out_of_scope?\n",
		"499":          "agentproxy: there is no code \"499\"; agentproxy explain lists them\n",
		"":             "agentproxy: there is no code \"\"; agentproxy explain lists them\n",
		"nonsense":     "agentproxy: there is no code \"nonsense\"; agentproxy explain lists them\n",
	} {
		if out := run(t, baseEnv(t), agentproxy, "explain", typed); out.code != 2 || out.stderr != want || out.stdout != "" {
			t.Errorf("explain %s: exit code %d, %q", typed, out.code, out.stderr)
		}
	}
}
