//go:build linux

package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestRunOddHomes has Codex work in homes that are not what homes usually are.
func TestRunOddHomes(t *testing.T) {
	t.Parallel()
	for name, odd := range map[string]struct {
		codexHome string
		lay       func(t *testing.T, u *runUser, home string) // what is odd
		root      bool                                        // it takes root
		login     string                                      // the log-in's path, below dir; by default in the home
		readOnly  bool
	}{
		"name": {codexHome: "a home, with: spaces=é'\"\\ and $x"},
		"linked": {lay: func(t *testing.T, u *runUser, home string) {
			moved := filepath.Join(u.dir, "elsewhere")
			must(t, os.Rename(home, moved))
			must(t, os.Symlink("elsewhere", home))
		}},
		"linked log-in": {login: "vault/login.json", lay: func(t *testing.T, u *runUser, home string) {
			must(t, os.Mkdir(filepath.Join(u.dir, "vault"), 0o700))
			must(t, os.Rename(filepath.Join(home, "auth.json"), filepath.Join(u.dir, "vault", "login.json")))
			must(t, os.Symlink("../vault/login.json", filepath.Join(home, "auth.json")))
		}},
		"pipes and sockets": {lay: func(t *testing.T, u *runUser, home string) {
			must(t, syscall.Mkfifo(filepath.Join(home, "fifo"), 0o600))
			must(t, syscall.Mknod(filepath.Join(home, "socket"), syscall.S_IFSOCK|0o600, 0))
			must(t, os.Symlink("nowhere", filepath.Join(home, "dangling")))
			must(t, os.Symlink("loop", filepath.Join(home, "loop")))
			must(t, os.Mkdir(filepath.Join(home, "closed"), 0))
		}},
		"another file system": {root: true, lay: func(t *testing.T, u *runUser, home string) {
			login := []byte(readFile(t, filepath.Join(home, "auth.json")))
			must(t, syscall.Mount("tmpfs", home, "tmpfs", 0, "mode=700"))
			t.Cleanup(func() { unmount(t, home) })
			writeFile(t, filepath.Join(home, "auth.json"), login)
		}},
		"read-only": {root: true, readOnly: true, lay: func(t *testing.T, u *runUser, home string) {
			must(t, syscall.Mount(home, home, "", syscall.MS_BIND, ""))
			t.Cleanup(func() { unmount(t, home) })
			must(t, syscall.Mount("", home, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		}},
	} {
		for _, mode := range []string{"always", "off"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				if odd.root && os.Getuid() != 0 {
					t.Skip("it takes root to mount a home")
				}
				t.Parallel()
				u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{codexHome: odd.codexHome})
				home := u.f.codexHome
				if odd.lay != nil {
					odd.lay(t, u, home)
				}
				if !odd.readOnly {
					giveTo(t, u.dir, u.uid)
				}
				login := filepath.Join(home, "auth.json")
				if odd.login != "" {
					login = filepath.Join(u.dir, odd.login)
				}
				before := readFile(t, login)
				script := `cat "$CODEX_HOME/auth.json"; ` + map[bool]string{false: `echo kept >"$CODEX_HOME/new"; mkdir -p "$CODEX_HOME/sessions/x"; echo kept >"$CODEX_HOME/sessions/x/y"`, true: ":"}[odd.readOnly]
				shown := u.mustRun(t, mode, "sh", "-c", script)
				placeholderTokens(t, []byte(shown))
				u.f.checkNoSecret(t, "auth.json", shown)
				if mode == "always" && odd.login != "" {
					u.f.checkNoSecret(t, "the file that auth.json links to", u.mustRun(t, mode, "cat", login))
				}
				if odd.readOnly {
					return // which Codex makes no use of
				}
				codex := u.codex(t, tuiVersions[1].path)
				r := u.run(t, mode, append(append([]string{codex, "exec", "--skip-git-repo-check"}, codexQuiet...), "say hi")...)
				if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
					t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
				}
				if turns := u.turns(t); len(turns) != 1 {
					t.Errorf("%d turns", len(turns))
				}
				for _, name := range []string{"new", "sessions/x/y"} {
					if got := readFile(t, filepath.Join(home, name)); got != "kept\n" {
						t.Errorf("%s holds %q", name, got)
					}
				}
				if after := readFile(t, login); after != before {
					t.Error("the log-in has changed")
				}
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unmount unmounts a file system of the test's. What another test starts inherits a file that
// this one has open there for a moment, and until it has let go of that it is busy (EBUSY).
func unmount(t *testing.T, path string) {
	t.Helper()
	eventually(t, path+" to be unmounted", func() bool { return syscall.Unmount(path, 0) == nil })
}

// TestRunKilled kills one run while Codex's files are being made, and beside one that
// goes on: nothing is lost, and nothing left but for what the next run takes away.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"always", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			first, endFirst := u.runsUntilTold(t, mode, "first")
			_, endSecond := u.runsUntilTold(t, mode, "second")
			must(t, first.Process.Kill())
			endFirst()
			endSecond()
			for _, name := range []string{"first", "second"} {
				if mode == "off" {
					u.mustRun(t, mode, "true") // brings home what the killed one has left, if the other could not
				}
				if got := readFile(t, filepath.Join(u.f.codexHome, name)); got != name+"\n" {
					t.Errorf("%s holds %q", name, got)
				}
			}
			u.mustRun(t, mode, "true")
			if names := strings.Join(u.files(t), " "); names != "auth.json first second" {
				t.Errorf("the home has %s", names)
			}
			if left, _ := filepath.Glob(filepath.Join(u.f.stateDir, "run", "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// runsUntilTold starts a run whose command has written a file, and goes on until end
// is called.
func (u *runUser) runsUntilTold(t *testing.T, mode, file string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = u.runCommand(t, mode, "sh", "-c", fmt.Sprintf(`echo %[1]s >"$CODEX_HOME/%[1]s"; echo ready; cat`, file))
	stdin, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the command said %q", lines.Text())
	}
	return cmd, func() {
		stdin.Close()
		_ = cmd.Wait() // which was killed, maybe
	}
}
