package launch

import (
	"slices"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	all := []string{
		"PATH=/bin", "CODEX_API_KEY=key", "CODEX_ACCESS_TOKEN=", "TOKEN=secret", "AGENTPROXY_LISTEN=x", "OPENAI_API_KEY=key",
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/x", "OTHER=1", "EMPTY=", "odd",
	}
	for _, test := range []struct {
		e             Environment
		kept, dropped string
	}{
		{Environment{}, "PATH TOKEN OPENAI_API_KEY OTHER EMPTY odd", "CODEX_API_KEY"},
		{Environment{Bus: true, Secret: []string{"TOKEN"}}, "PATH OPENAI_API_KEY DBUS_SESSION_BUS_ADDRESS OTHER EMPTY odd", "CODEX_API_KEY TOKEN"},
		{Environment{Pass: []string{"CODEX_API_KEY", "AGENTPROXY_LISTEN"}, Drop: []string{"OTHER", "PATH"}}, "CODEX_API_KEY TOKEN AGENTPROXY_LISTEN OPENAI_API_KEY EMPTY odd", ""},
		{Environment{Pass: []string{"OTHER"}, Drop: []string{"OTHER"}}, "PATH TOKEN OPENAI_API_KEY EMPTY odd", "CODEX_API_KEY"},
	} {
		kept, dropped := test.e.Filter(all)
		var names []string
		for _, entry := range kept {
			name, _, _ := strings.Cut(entry, "=")
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != test.kept || strings.Join(dropped, " ") != test.dropped {
			t.Errorf("%+v keeps %s and drops %s,\nwant %s and %s", test.e, got, dropped, test.kept, test.dropped)
		}
	}
}

// FuzzFilter checks that no secret gets through, and that everything else does.
func FuzzFilter(f *testing.F) {
	f.Add("CODEX_API_KEY=x\x00A=1", "TOKEN")
	f.Fuzz(func(t *testing.T, environ, secret string) {
		entries := strings.Split(environ, "\x00")
		kept, _ := Environment{Secret: []string{secret}}.Filter(entries)
		for _, entry := range entries {
			name, _, _ := strings.Cut(entry, "=")
			hidden := name == secret || slices.Contains(credentialVariables, name) || slices.Contains(busVariables, name) || strings.HasPrefix(name, ownPrefix)
			if slices.Contains(kept, entry) == hidden {
				t.Errorf("%q is kept: %t", entry, !hidden)
			}
		}
	})
}
