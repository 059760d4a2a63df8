//go:build linux

package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// keyringScript runs a program beside a Secret Service that holds a log-in.
const keyringScript = `set -e
account=$1 login=$2; shift 2
printf secret | gnome-keyring-daemon --unlock --components=secrets >"$XDG_RUNTIME_DIR/log"
secret-tool store --label=Codex service 'Codex Auth' username "$account" <"$login"
"$@"
`

// TestRunKeyring has the log-in in a real Secret Service. agentproxy run finds it
// there; Codex inside finds the placeholder, whatever its configuration says of
// keyrings; and plain Codex beside it finds the log-in.
func TestRunKeyring(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"keyring", "auto", "ephemeral"} {
		for _, mode := range []string{"always", "off"} {
			for _, version := range []int{0, 2} {
				t.Run(store+"/"+mode+"/"+runVersions[version].name, func(t *testing.T) {
					t.Parallel()
					u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}},
						runHome{noLogin: true, config: fmt.Sprintf("cli_auth_credentials_store = %q\n", store)})
					codex := u.codex(t, runVersions[version].path)
					args := append(append([]string{codex, "exec", "--skip-git-repo-check"}, codexQuiet...), "say hi")
					r := u.withKeyring(t, append([]string{u.binary}, u.runArgs(mode, args...)...)...)
					if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
						t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
					}
					if turns := u.turns(t); len(turns) != 1 {
						t.Errorf("%d turns", len(turns))
					}
					if slices.Contains(u.files(t), "auth.json") {
						t.Error("the run has left an auth.json")
					}
				})
			}
		}
	}
}

// TestRunHidesKeyring asks the Secret Service from inside, and beside the run: it
// lasts for longer than what the keyring said is believed.
func TestRunHidesKeyring(t *testing.T) {
	t.Parallel()
	u := newRunUser(t, fixtureConfig{}, runHome{noLogin: true, config: "cli_auth_credentials_store = \"keyring\"\n"})
	codex := u.codex(t, runVersions[2].path)
	ask := `secret-tool search --all service "Codex Auth" 2>&1; true`
	inside := ask + `; DBUS_SESSION_BUS_ADDRESS=$1; export DBUS_SESSION_BUS_ADDRESS; ` + ask + `; cat "$CODEX_HOME/auth.json"`
	script := fmt.Sprintf(`%s run --isolate always --config %s -- sh -c %s sh "$DBUS_SESSION_BUS_ADDRESS"
echo outside
%s
CODEX_HOME=%s %s login status 2>&1
`, quote(u.binary), quote(u.f.config), quote(inside), ask, quote(u.f.codexHome), quote(codex))
	r := u.withKeyring(t, "sh", "-c", script)
	within, outside, ok := strings.Cut(r.stdout, "outside\n")
	if r.code != 0 || !ok {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	u.f.checkNoSecret(t, "what a command inside is told", within)
	if !strings.Contains(within, "auth_mode") {
		t.Errorf("there is no placeholder inside: %s", within)
	}
	token := u.f.login.Current().RefreshToken
	if !strings.Contains(outside, token) || !strings.Contains(outside, "Logged in using ChatGPT") {
		t.Errorf("outside: %s", outside)
	}
}

// withKeyring runs a program on a session bus of its own, with the log-in in its
// Secret Service.
func (u *runUser) withKeyring(t *testing.T, args ...string) result {
	t.Helper()
	login := filepath.Join(u.dir, "login.json")
	writeFile(t, login, u.f.login.AuthJSONWithIdentity("C"))
	runtime, err := os.MkdirTemp("/tmp", "keyring-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	giveTo(t, runtime, u.uid)
	giveTo(t, login, u.uid)
	if err := os.Chmod(login, 0o600); err != nil {
		t.Fatal(err)
	}
	home, err := filepath.EvalSymlinks(u.f.codexHome)
	if err != nil {
		t.Fatal(err)
	}
	account := fmt.Sprintf("cli|%x", sha256.Sum256([]byte(home)))[:len("cli|")+16]
	argv := append([]string{"--", "sh", "-c", keyringScript, "sh", account, login}, args...)
	environ := append([]string{"XDG_RUNTIME_DIR=" + runtime}, u.env...)
	return runCommand(t, u.command(t, environ, systemProgram(t, "dbus-run-session"), argv...))
}
