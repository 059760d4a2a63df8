//go:build linux

package integration

import (
	"strings"
	"testing"
)

// TestRunLogin has Codex log in and out within a run, by a shell: a sentence says where
// that belongs. After a turn none does.
func TestRunLogin(t *testing.T) {
	t.Parallel()
	const sentence = "Codex logs in and out outside of agentproxy run, in a shell of your own"
	for _, version := range []string{codexVersions[0].path, codexVersions[len(codexVersions)-1].path} {
		codex := npmProgram(t, version)
		for _, mode := range runModes {
			for command, told := range map[string]int{
				codex + " logout":              1,
				codex + " login --device-auth": 1,
				codex + " login status":        0,
				codex + " '" + strings.Join(codexExec(codexQuiet...), "' '") + "' </dev/null": 0,
			} {
				t.Run(strings.Join([]string{version[:len("codex-0.171")], mode, strings.Trim(strings.Fields(command)[1], "'")}, " "), func(t *testing.T) {
					t.Parallel()
					u := newRunUser(t, fixtureConfig{scope: defaultScope}, runHome{})
					// Not the program itself: that is refused before it starts.
					if r := u.run(t, mode, "sh", "-c", command+"; true"); strings.Count(r.stderr, sentence) != told {
						t.Errorf("it was told %d times, want %d:\n%s", strings.Count(r.stderr, sentence), told, r.stderr)
					}
				})
			}
		}
	}
}
