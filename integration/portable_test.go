//go:build linux && portable

package integration

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestARM64 has qemu run agentproxy.
func TestARM64(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := machine{env: baseEnv(t), run: []string{systemProgram(t, "qemu-aarch64")}, path: func(path string) string { return path }}
	m.program = buildFor(t, dir, "agentproxy", "./cmd/agentproxy", "GOARCH=arm64")
	// qemu does not start programs of the other machine that its programs start.
	m.client = buildFor(t, dir, "client", "./integration/portable/client")
	m.check(t)
}

// TestWindows has Wine run agentproxy.
func TestWindows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	prefix := filepath.Join(dir, "wine")
	m := machine{
		env:  append(baseEnv(t), "WINEPREFIX="+prefix, "WINEDEBUG=-all"),
		run:  []string{"/usr/lib/wine/wine64"},
		path: func(path string) string { return "Z:" + path },
		wine: true,
	}
	m.program = buildFor(t, dir, "agentproxy.exe", "./cmd/agentproxy", "GOOS=windows")
	m.client = buildFor(t, dir, "client.exe", "./integration/portable/client", "GOOS=windows")
	t.Cleanup(func() { // the server that all of Wine's programs share
		kill := exec.Command("/usr/lib/wine/wineserver64", "--kill")
		kill.Env = m.env
		_ = kill.Run()
	})
	if r := runToFiles(t, m.env, m.run[0], "wineboot", "--init"); r.code != 0 {
		t.Fatalf("wineboot: exit code %d\n%s", r.code, r.stderr)
	}
	mustRun(t, m.env, systemProgram(t, "x86_64-w64-mingw32-gcc"), "-shared", "-o", filepath.Join(prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll"),
		filepath.Join(sources(t), "integration", "portable", "bcryptprimitives.c"), "-ladvapi32")
	m.check(t)
}

// machine is another machine than this one, which is emulated.
type machine struct {
	env, run        []string
	program, client string
	path            func(string) string // turns a path of this machine's into one of it
	wine            bool
}

// agentproxy runs agentproxy.
func (m *machine) agentproxy(t *testing.T, args ...string) result {
	t.Helper()
	argv := append(append(slices.Clone(m.run), m.program), args...)
	return runToFiles(t, m.env, argv[0], argv[1:]...)
}

// runToFiles is run for programs that leave others behind, which would hold pipes
// open.
func runToFiles(t *testing.T, environ []string, program string, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	cmd := command(t, environ, program, args...)
	for name, w := range map[string]*io.Writer{"stdout": &cmd.Stdout, "stderr": &cmd.Stderr} {
		file, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		*w = file
	}
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("%s: %v", cmd, err)
	}
	return result{readFile(t, filepath.Join(dir, "stdout")), readFile(t, filepath.Join(dir, "stderr")), cmd.ProcessState.ExitCode()}
}

func (m *machine) check(t *testing.T) {
	t.Run("demo", func(t *testing.T) {
		r := m.agentproxy(t, "demo")
		m.checkEnd(t, r)
		if !strings.Contains(r.stdout, "backend   verified the assertion of agent") {
			t.Errorf("it said %s", r.stdout)
		}
	})

	f := newFixture(t, fixtureConfig{yaml: "clients: {token: portable}"})
	config := readFile(t, f.config)
	dir := filepath.Dir(f.config)
	writeFile(t, f.config, []byte(strings.ReplaceAll(config, `"`+dir, `"`+m.path(dir))))
	t.Run("check", func(t *testing.T) {
		r := m.agentproxy(t, "check", "--config", m.path(f.config))
		if r.code != 0 {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		t.Log(r.stdout)
	})
	t.Run("run", func(t *testing.T) {
		f.backend.ResetRequests()
		r := m.agentproxy(t, "run", "--config", m.path(f.config), "--", m.path(m.client), backendAPI+"/codex/models?client_version=1")
		m.checkEnd(t, r)
		if strings.TrimSpace(r.stdout) != "200 OK" {
			t.Errorf("it said %q\n%s", r.stdout, r.stderr)
		}
		f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
		f.checkNoSecret(t, "what run writes", r.stdout+r.stderr)
	})
}

// wineCannot is what Wine 8 says where Go removes a directory's contents in the
// way of Windows 10.
var wineCannot = regexp.MustCompile(`unlinkat \S+: Invalid function\.`)

// checkEnd has a command have ended well, or have failed at what Wine cannot do
// and nothing else.
func (m *machine) checkEnd(t *testing.T, r result) {
	t.Helper()
	if r.code == 0 {
		return
	}
	rest := wineCannot.ReplaceAllString(r.stderr, "")
	if !m.wine || rest == r.stderr || strings.Contains(rest, "violation") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

// buildFor builds a package of this module's for another machine.
func buildFor(t *testing.T, dir, name, pkg string, env ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	cmd := command(t, append(append(os.Environ(), "CGO_ENABLED=0"), env...), "go", "build", "-trimpath", "-o", path, pkg)
	cmd.Dir = sources(t)
	if r := runCommand(t, cmd); r.code != 0 {
		t.Fatal(r.stderr)
	}
	return path
}

// sources returns the directory of the module.
func sources(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
