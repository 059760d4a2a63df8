//go:build linux && engines

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// engineTimeout bounds one command given to an engine. Building the image is the
// longest.
const engineTimeout = 15 * time.Minute

// engine is a container engine in namespaces of its own. It has a network that
// leads to the stand-in backend and nowhere else, and sees the machine's files
// without being able to leave any but in its directory.
type engine struct {
	dir      string // all of its files; short, for sockets are in it
	network  string
	fixture  *fixture
	internet internet
	environ  []string // of those who give it commands
}

// newEngine makes what an engine needs to run. When the test ends nothing may be
// left of it.
func newEngine(t *testing.T) *engine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("container engines need root; run make engines as root")
	}
	traces := engineTraces(t)
	e := &engine{network: newNetwork(t)}
	e.fixture, e.internet = newInternet(t, e.network)
	dir, err := os.MkdirTemp("/tmp", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	e.dir = dir
	for _, name := range []string{"bin", "home", "etc", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range map[string]string{
		"agentproxy": `exec ` + agentproxy + ` "$@"`,
		"sudo":       `exec "$@"`,
		"id":         `echo 1000`, // the reader is an ordinary user, who may become root
	} {
		e.addProgram(t, name, script)
	}
	e.environ = []string{"PATH=" + filepath.Join(dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + filepath.Join(dir, "home"), "TERM=dumb"}
	t.Cleanup(func() {
		e.clean(t)
		if after := engineTraces(t); after != traces {
			t.Errorf("the engine has left\n%s\nwhere there was\n%s", after, traces)
		}
	})
	return e
}

// addProgram puts a shell script where the reader finds it before others.
func (e *engine) addProgram(t *testing.T, name, script string) {
	t.Helper()
	writeProgram(t, filepath.Join(e.dir, "bin", name), "#!/bin/sh\n"+script+"\n")
}

// cgroup is the name of the control group that the engine's containers are in.
func (e *engine) cgroup() string { return filepath.Base(e.dir) }

// layout are shell commands by which an engine gets its view of the machine: what
// it writes outside of its directory is gone with its mount namespace.
func (e *engine) layout() string {
	return fmt.Sprintf(`set -eu
cd %[1]s
mount -t overlay overlay -o lowerdir=/etc,upperdir=etc,workdir=work /etc
for dir in /run /opt /var/lib; do mount -t tmpfs tmpfs $dir; done
`, e.dir)
}

// isolated returns a command whose processes see their own kind alone, and end
// with it.
func (e *engine) isolated(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "--net="+filepath.Join("/run/netns", e.network), "--",
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", e.layout()+script)
	cmd.Env = e.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start starts an isolated command. It ends with the test, or with the test's
// process.
func (e *engine) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the kernel ends the command with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := killGroup(cmd); err != nil {
			t.Error(err)
		}
		<-ended
		eventually(t, "the end of all of the engine's processes", func() bool { return len(e.processes()) == 0 })
	})
}

// try runs a command of the reader's to its end.
func (e *engine) try(t *testing.T, dir, script string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), engineTimeout) // cleaning up needs them too
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, e.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it runs yet
	cmd.WaitDelay = time.Minute
	return runCommand(t, cmd)
}

// run is try for what is expected to succeed.
func (e *engine) run(t *testing.T, dir, script string) string {
	t.Helper()
	r := e.try(t, dir, script)
	if r.code != 0 {
		t.Fatalf("%s\nexit code %d\n%s%s", script, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// follow does what a section of docs/sidecar.md says, at a terminal, and returns
// what is printed there.
func (e *engine) follow(t *testing.T, section, dir string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, filepath.Join("..", "docs", "sidecar.md")), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	page := filepath.Join(t.TempDir(), "section.md")
	writeFile(t, page, []byte(text))
	script := "set -eu\n"
	for _, example := range examplesIn(t, page) {
		for _, c := range example.commands {
			if example.comment == "run by TestDocker" {
				script += c.line + "\n"
			}
		}
	}
	if !found || script == "set -eu\n" {
		t.Fatalf("docs/sidecar.md has nothing to be run in the section %q", section)
	}
	writeFile(t, filepath.Join(e.dir, "section"), []byte(script))
	r := e.try(t, dir, "script -qefc 'bash "+filepath.Join(e.dir, "section")+"' /dev/null </dev/null")
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", section, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// sources lays the sources out as a clone has them, as far as the image is built
// of them, with what docs/sidecar.md prepares in deploy.
func (e *engine) sources(t *testing.T) string {
	t.Helper()
	dir := copySources(t)
	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		writeFile(t, filepath.Join(dir, name), []byte(readFile(t, filepath.Join("..", name))))
	}
	if err := os.Rename(filepath.Join(e.fixture.prepareFor(t, "TestComposeRuns").dir, "deploy"), filepath.Join(dir, "deploy")); err != nil {
		t.Fatal(err)
	}
	// Where the proxy's Internet is.
	secrets := filepath.Join(dir, "deploy", "secrets")
	config := readFile(t, filepath.Join(dir, "deploy", "config.yaml")) + fmt.Sprintf(`
upstream:
  connect_to: {"chatgpt.com:443": %[1]q, "*.chatgpt.com:443": %[1]q, "auth.openai.com:443": %[1]q}
  ca_file: /run/secrets/upstream-ca.pem
`, e.internet.backend.Addr())
	for path, content := range map[string]string{
		filepath.Join(dir, "deploy", "config.yaml"): config,
		filepath.Join(secrets, "upstream-ca.pem"):   string(e.internet.backend.CertPEM()),
	} {
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checkTurn fails unless Codex has finished a turn that the backend took.
func (e *engine) checkTurn(t *testing.T, printed string) {
	t.Helper()
	if !strings.Contains(printed, codexReply) {
		t.Errorf("Codex has not finished its turn:\n%s", printed)
	}
	e.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
}

// engineTraces lists what an engine may leave on a machine.
func engineTraces(t *testing.T) string {
	t.Helper()
	var found []string
	for _, pattern := range []string{
		"/etc/docker*", "/etc/containers/networks*", "/etc/cni/*", "/opt/containerd*", "/tmp/engine-*",
		"/run/docker*", "/run/containerd*", "/run/containers*", "/run/crun*", "/run/libpod*", "/run/netavark*",
		"/var/lib/docker*", "/var/lib/containerd*", "/var/lib/containers*", "/var/lib/cni*",
		"/sys/fs/cgroup/*/engine-*", "/sys/fs/cgroup/*/docker*", "/sys/fs/cgroup/*/libpod*",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	for line := range strings.Lines(readFile(t, "/proc/self/mountinfo")) {
		if strings.Contains(line, "/engine-") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}

// clean removes what is left of the engine, whose processes have ended.
func (e *engine) clean(t *testing.T) {
	t.Helper()
	for _, left := range e.processes() {
		t.Errorf("a process of the engine is left: %s", left)
	}
	var groups []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && strings.Contains(path+"/", "/"+e.cgroup()+"/") {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another's
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	slices.Reverse(groups)
	for _, group := range groups {
		eventually(t, "the end of "+group, func() bool { return syscall.Rmdir(group) == nil })
	}
	if err := os.RemoveAll(e.dir); err != nil {
		t.Error(err)
	}
}

// processes are those of the machine that are in the engine's network.
func (e *engine) processes() (found []string) {
	network, err := os.Stat(filepath.Join("/run/netns", e.network))
	if err != nil {
		return []string{err.Error()}
	}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		if filepath.Base(path) == strconv.Itoa(os.Getpid()) { // threads of which were there
			continue
		}
		its, err := os.Stat(filepath.Join(path, "ns", "net"))
		line, _ := os.ReadFile(filepath.Join(path, "cmdline"))
		if err == nil && os.SameFile(its, network) || bytes.Contains(line, []byte(e.dir)) {
			found = append(found, filepath.Base(path)+" "+string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

// firstProcess is the first one in the engine's process namespace, once it has
// laid out what it sees.
func (e *engine) firstProcess() (pid string) {
	for _, process := range e.processes() {
		if pid, line, _ := strings.Cut(process, " "); line == "sleep infinity " {
			return pid
		}
	}
	return ""
}
