package app

import (
	"io/fs"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

// TestFindLogin tells which log-in is used. A state directory may be another user's,
// as that of a sidecar is.
func TestFindLogin(t *testing.T) {
	own := config.OwnLogin{Dir: "/state/login"}
	for name, test := range map[string]struct {
		id   config.Identity
		mark error
		want Login
	}{
		"no mark":                 {config.Identity{CodexHome: "/codex", OwnLogin: own}, fs.ErrNotExist, Login{Dir: "/codex"}},
		"a mark":                  {config.Identity{CodexHome: "/codex", OwnLogin: own}, nil, Login{"/state/login", true}},
		"one that cannot be read": {config.Identity{CodexHome: "/codex", OwnLogin: own}, fs.ErrPermission, Login{"/state/login", true}},
		"an identity's file":      {config.Identity{CodexHome: "/codex", File: "/identity.json", OwnLogin: own}, fs.ErrPermission, Login{Dir: "/codex"}},
	} {
		if got := findLogin(test.id, func(string) ([]byte, error) { return nil, test.mark }); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
