//go:build linux

package integration

import (
	"strings"
	"testing"
)

// TestRunIsQuiet has git in a terminal ask for a challenge, and for a host that is
// refused: while the command runs no line of ours is shown, and then one.
func TestRunIsQuiet(t *testing.T) {
	t.Parallel()
	const script = `git ls-remote https://chatgpt.com/x.git; git ls-remote https://github.com/x/y; git ls-remote https://github.com/x/z; echo o''ver; cat`
	for _, mode := range runModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			w := openWindow(t, u, u.env)
			line := u.binary + " " + strings.Join(u.runArgs(mode), " ")
			w.types(t, "clear; "+line+` sh -c "`+script+`"`)
			w.awaitAny(t, "over")
			if shown := w.screen(t); strings.Contains(shown, "agentproxy: ") || !strings.Contains(shown, "not found") {
				t.Errorf("while the command runs:\n%s", shown)
			}
			w.keys(t, "C-d")
			w.awaitPrompt(t)
			shown := w.screen(t)
			if strings.Count(shown, "agentproxy: ") != 1 || !strings.Contains(shown, "agentproxy: requests were refused: 2 × host_refused (github.com:443); agentproxy explain host_refused says what to do, --log FILE has them all") {
				t.Errorf("at the end:\n%s", shown)
			}
		})
	}
	t.Run("nothing to say", func(t *testing.T) {
		t.Parallel()
		u := newRunUser(t, fixtureConfig{}, runHome{})
		r := u.run(t, "always", "git", "ls-remote", "https://chatgpt.com/x.git")
		if strings.Contains(r.stderr, "agentproxy") || !strings.Contains(r.stderr, "not found") {
			t.Errorf("git: exit code %d\n%s", r.code, r.stderr)
		}
	})
}
