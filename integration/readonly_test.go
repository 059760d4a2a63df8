//go:build linux

package integration

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// containerUser is the user that the image runs as.
const containerUser = 65532

// TestReadOnlyIdentity has the identity, and then the CA too, lie where nobody
// can write, as the secrets that are mounted into a container do: root's, and
// readable by agentproxy's group. There tasks live in memory, and an identity
// that takes the place of the first is used soon.
func TestReadOnlyIdentity(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	for name, test := range map[string]struct {
		everything bool // the whole state directory is read-only
		identity   string
		warnings   int
	}{
		"identity.file":   {false, "identity: {codex_home: nowhere, file: %q}", 0},
		"state directory": {true, "identity: {codex_home: nowhere} # keeps %q", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureConfig{yaml: "clients: {token: sesame}"})
			dir := filepath.Dir(f.config)
			given := filepath.Join(dir, "given")
			if err := os.Mkdir(given, 0o700); err != nil {
				t.Fatal(err)
			}
			if test.everything {
				f.edit(t, fmt.Sprintf("state_dir: %q", f.stateDir), fmt.Sprintf("state_dir: %q", given))
				mustRun(t, baseEnv(t), agentproxy, "ca", "export", "--config", f.config)
			}
			file := filepath.Join(given, "identity.json")
			f.edit(t, fmt.Sprintf("identity: {codex_home: %q}", f.codexHome), fmt.Sprintf(test.identity, file))
			binary := copyProgram(t, dir)
			giveTo(t, dir, containerUser)
			first := f.giveIdentity(t, file)
			giveToGroup(t, given, containerUser)
			before := listing(t, given)

			t.Run("use", func(t *testing.T) {
				box := sandbox{uid: containerUser, mounts: []string{readOnly(given)}}
				p := f.start(t, baseEnv(t), box.argv(t, binary, "serve", "--config", f.config)...)
				ask := func(label string) {
					t.Helper()
					r := curl(t, baseEnv(t), "--cacert", p.ca, "--proxy", "http://"+label+":sesame@"+p.addr, backendAPI+"/test/echo")
					if r.Code != 200 {
						t.Fatalf("status %d, CONNECT answered with %d\n%s%s", r.Code, r.Connect, r.body, r.stderr)
					}
				}
				for range 3 {
					ask("build-1")
					ask("build-2")
				}
				if tasks := f.tasksOf(t, first); len(tasks) != 2 {
					t.Errorf("tasks: %v, want one for each label", tasks)
				}
				if after := listing(t, given); after != before {
					t.Errorf("what was given has become\n%swas\n%s", after, before)
				}
				f.backend.ResetRequests()
				second := f.giveIdentity(t, file)
				time.Sleep(20 * time.Millisecond) // what was read is gone by for 10
				ask("build-1")
				f.tasksOf(t, second)
			})
			if warned := strings.Count(f.log, "the tasks are remembered in memory only"); warned != test.warnings {
				t.Errorf("warned %d times of tasks in memory, want %d", warned, test.warnings)
			}
		})
	}
}

// giveIdentity puts a new identity of the log-in in the place of path. It returns
// the agent's id.
func (f *fixture) giveIdentity(t *testing.T, path string) (runtimeID string) {
	t.Helper()
	id := f.backend.RegisterIdentity(f.login)
	next, jwt := filepath.Join(t.TempDir(), "next"), f.backend.IdentityJWT(id)
	f.given = append(f.given, jwt)
	writeFile(t, next, []byte(jwt))
	giveToGroup(t, next, containerUser)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	return id.RuntimeID
}

// copyProgram puts the program where other users may run it.
func copyProgram(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "agentproxy-copy")
	// By another process, as in writeProgram.
	mustRun(t, baseEnv(t), systemProgram(t, "cp"), agentproxy, path)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// giveToGroup makes everything below path root's, and readable by a group alone.
func giveToGroup(t *testing.T, path string, gid int) {
	t.Helper()
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Chown(path, 0, gid); err != nil {
			return err
		}
		mode := os.FileMode(0o440)
		if entry.IsDir() {
			mode = 0o550
		}
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listing names everything below dir, with what it holds.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&all, path, info.Mode(), info.ModTime())
		if info.Mode().IsRegular() {
			fmt.Fprintf(&all, "  %x\n", sha256.Sum256([]byte(readFile(t, path))))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// tasksOf returns the tasks that the requests of clients were signed for, all in
// the name of one agent.
func (f *fixture) tasksOf(t *testing.T, runtimeID string) map[string]bool {
	t.Helper()
	tasks := make(map[string]bool)
	for _, r := range f.checkSigned(t, "AgentAssertion") {
		if !strings.Contains(r.Path, "/test/") {
			continue
		}
		if r.Auth.AgentRuntimeID != runtimeID {
			t.Errorf("%s was signed as %s, want %s", r.Path, r.Auth.AgentRuntimeID, runtimeID)
		}
		tasks[r.Auth.TaskID] = true
	}
	if len(tasks) == 0 {
		t.Error("nothing was signed")
	}
	return tasks
}
