//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// A runUser is an ordinary user, not root, who uses agentproxy run.
type runUser struct {
	f      *fixture
	uid    int
	dir    string // all that is the user's is below it
	work   string // the directory that programs are started in
	binary string // the program under test
	env    []string
}

// runHome is where the log-in of a runUser lies, and what else there is.
type runHome struct {
	codexHome string // by default the fixture's
	config    string // config.toml's content
	noLogin   bool   // no auth.json
}

func newRunUser(t *testing.T, c fixtureConfig, home runHome) *runUser {
	t.Helper()
	f := newFixture(t, c)
	dir := filepath.Dir(f.config)
	u := &runUser{f: f, uid: os.Getuid(), dir: dir, work: filepath.Join(dir, "work"), binary: copyProgram(t, dir)}
	if u.uid == 0 {
		u.uid = nobody
	}
	own := filepath.Join(dir, "home")
	temp := filepath.Join(dir, "tmp") // below which Codex takes no home for a lasting one
	for _, path := range []string{u.work, own, temp} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if home.codexHome != "" {
		moved := filepath.Join(dir, home.codexHome)
		if err := os.Rename(f.codexHome, moved); err != nil {
			t.Fatal(err)
		}
		writeFile(t, f.config, bytes.ReplaceAll([]byte(readFile(t, f.config)), quoted(t, f.codexHome), quoted(t, moved)))
		f.codexHome = moved
	}
	if home.config != "" {
		writeFile(t, filepath.Join(f.codexHome, "config.toml"), []byte(home.config))
	}
	if home.noLogin {
		if err := os.Remove(filepath.Join(f.codexHome, "auth.json")); err != nil {
			t.Fatal(err)
		}
	}
	giveTo(t, dir, u.uid)
	u.env = []string{"PATH=" + clientPath, "HOME=" + own, "TMPDIR=" + temp, "SHELL=/bin/bash", "TERM=xterm-256color", "LC_ALL=C.UTF-8"}
	t.Cleanup(func() { u.endAll(t) })
	return u
}

func quoted(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := json.Marshal(s) // as %q writes it, and YAML reads it
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// command prepares a program of the user's.
func (u *runUser) command(t *testing.T, environ []string, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := as(command(t, environ, program, args...), u.uid)
	cmd.Dir = u.work
	return cmd
}

// run has agentproxy run a command: run.isolate is mode.
func (u *runUser) run(t *testing.T, mode string, args ...string) result {
	t.Helper()
	return runCommand(t, u.runCommand(t, mode, args...))
}

func (u *runUser) runCommand(t *testing.T, mode string, args ...string) *exec.Cmd {
	t.Helper()
	return u.command(t, u.env, u.binary, u.runArgs(mode, args...)...)
}

func (u *runUser) runArgs(mode string, args ...string) []string {
	return append([]string{"run", "--isolate", mode, "--config", u.f.config, "--"}, args...)
}

// mustRun is run for a command that is expected to succeed, and returns what it
// wrote.
func (u *runUser) mustRun(t *testing.T, mode string, args ...string) string {
	t.Helper()
	r := u.run(t, mode, args...)
	if r.code != 0 {
		t.Fatalf("agentproxy run --isolate %s -- %s: exit code %d\n%s%s", mode, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// serve starts a proxy for programs that the user starts without agentproxy run, and
// returns their environment.
func (u *runUser) serve(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command(u.binary, "serve", "--config", u.f.config)
	cmd.Env, cmd.SysProcAttr = u.env, new(syscall.SysProcAttr)
	p := u.f.startCommand(t, as(cmd, u.uid))
	r := runCommand(t, u.command(t, append([]string{"AGENTPROXY_LISTEN=" + p.addr}, u.env...), u.binary, "env", "--config", u.f.config))
	if r.code != 0 {
		t.Fatalf("agentproxy env: %s", r.stderr)
	}
	environ := append([]string{"CODEX_HOME=" + u.f.codexHome}, u.env...)
	for line := range strings.Lines(r.stdout) {
		name, value, err := parseExport(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		environ = append(environ, name+"="+value)
	}
	return environ
}

// codex returns the path of a version of Codex that the user can start.
func (u *runUser) codex(t *testing.T, path string) string {
	t.Helper()
	codex := npmProgram(t, path)
	for above := filepath.Dir(codex); above != "/"; above = filepath.Dir(above) {
		if info, err := os.Stat(above); err != nil || u.uid != os.Getuid() && info.Mode()&1 == 0 {
			t.Fatalf("user %d cannot reach %s, %v; put the checkout where everybody can", u.uid, above, err)
		}
	}
	return codex
}

// processes returns the command lines of what runs with a path of the user's in its
// command line or environment, by the process's number.
func (u *runUser) processes(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		cmdline, _ := os.ReadFile(file) // one that has ended has none
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if strings.Contains(string(cmdline)+"\x00"+string(environ), u.dir+"/") {
			found[filepath.Base(dir)] = strings.ReplaceAll(string(cmdline), "\x00", " ")
		}
	}
	return found
}

// endAll ends what a test has left running, so that its files can be removed.
func (u *runUser) endAll(t *testing.T) {
	t.Helper()
	eventually(t, "the end of the user's processes", func() bool { return u.kill(t, u.processes(t)) == 0 })
}

// kill kills processes and returns how many there are.
func (u *runUser) kill(t *testing.T, processes map[string]string) int {
	t.Helper()
	for pid := range processes {
		if n, err := strconv.Atoi(pid); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL) // one that has ended is as well
		}
	}
	return len(processes)
}

// files returns the names below the user's Codex home.
func (u *runUser) files(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(u.f.codexHome)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// turns returns what the backend was sent to be answered since it was last asked,
// oldest first, and checks that it was signed.
func (u *runUser) turns(t *testing.T) (turns []string) {
	t.Helper()
	for _, r := range u.f.checkSigned(t, chatgpttest.SchemeAgentAssertion) {
		if r.Path != "/backend-api/codex/responses" {
			continue
		}
		messages := r.Messages
		if r.Method == "POST" {
			messages = [][]byte{decoded(t, r)}
		}
		for _, m := range messages {
			var create struct{ Generate *bool }
			if err := json.Unmarshal(m, &create); err != nil {
				t.Fatal(err)
			}
			if create.Generate == nil || *create.Generate { // else it is for the connection only
				turns = append(turns, string(m))
			}
		}
	}
	u.f.backend.ResetRequests()
	return turns
}

func decoded(t *testing.T, r chatgpttest.Request) []byte {
	t.Helper()
	if r.Header.Get("Content-Encoding") != "zstd" {
		return r.Body
	}
	d, err := zstd.NewReader(bytes.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	raw, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
