package config

import (
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestSecretPaths: agents do not see who has asked for what, nor what that has used, nor
// any profile's credentials.
func TestSecretPaths(t *testing.T) {
	t.Parallel()
	path := configtest.Write(t, `
admin: unix:/s/admin.sock
clients: {tokens_file: /s/tokens}
audit: {file: ~/audit.jsonl}
usage: {file: /s/usage.jsonl}
profiles:
  - {name: a, labels: [a], identity: {file: /s/id}}
`)
	c, err := Load(path, configtest.Environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := c.SecretPaths()
	const home = "/home/somebody"
	for _, want := range []string{path, home + "/audit.jsonl", "/s/usage.jsonl", "/s/admin.sock", "/s/tokens", "/s/id", home + "/.codex"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	if slices.Contains(got, "") {
		t.Errorf("%q", got)
	}
}
