package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

func TestChangedKeys(t *testing.T) {
	t.Parallel()
	base := "clients: {token: first}\n"
	for changed, want := range map[string][]string{
		base:                         nil,
		"clients: {token: second}\n": {"clients.token"},
		base + "listen: 127.0.0.1:1\nsigner: {use: bearer, rules: [{path: /a, use: none}]}\n":    {"listen", "signer.use", "signer.rules"},
		base + "other_hosts: []\nlimits: {connections: 2000}\n":                                  {"other_hosts", "limits.connections"},
		base + "other_hosts: refuse\nupstream: {connect_to: {\"a.example:1\": \"b.example:1\"}}": {"upstream.connect_to", "other_hosts"},
	} {
		a, err := Load(configtest.Write(t, base), configtest.Environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		b, err := Load(configtest.Write(t, changed), configtest.Environment(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, Changed(a, b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", changed, diff)
		}
	}
}
