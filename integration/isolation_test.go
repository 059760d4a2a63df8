//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ordinaryUser is a user that no machine has.
const ordinaryUser = 61347

// escapeTarget is what the program in integration/escape is told.
type escapeTarget struct {
	Home, State, Agentproxy, Config, Scratch string
	Sockets, URLs                            []string
}

// escapeResult is what it says of a way.
type escapeResult struct {
	Way     string
	Plain   bool
	Got     []byte
	Reached string
	Err     string
}

// prisoner is an ordinary user with a log-in, whose agent wants it.
type prisoner struct {
	fixture *fixture
	dir     string
	program string
	target  escapeTarget
	secrets map[string]string
}

func newPrisoner(t *testing.T) *prisoner {
	t.Helper()
	f := newFixture(t, fixtureConfig{yaml: "# the secret of the configuration: 5ce7f4a1\n"})
	dir := filepath.Dir(f.config)
	p := &prisoner{fixture: f, dir: dir, program: filepath.Join(dir, "escape"), secrets: f.secrets()}
	p.secrets["the secret of the configuration"] = "5ce7f4a1"
	build := exec.Command("go", "build", "-o", p.program, "./escape")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	p.target = escapeTarget{
		Home: f.codexHome, State: f.stateDir, Config: f.config,
		Agentproxy: copyProgram(t, dir), Scratch: filepath.Join(dir, "scratch"),
	}
	for _, name := range []string{"scratch", "runtime"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Others must get there.
	for parent := dir; parent != os.TempDir() && parent != "/"; parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, baseEnv(t), systemProgram(t, "chown"), "-R", fmt.Sprintf("%d:%[1]d", ordinaryUser), dir)
	return p
}

// command returns a command that the user runs in the state directory, with what
// leads out of there open.
func (p *prisoner) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	id := strconv.Itoa(ordinaryUser)
	argv := append([]string{"--reuid=" + id, "--regid=" + id, "--clear-groups", "--"}, args...)
	cmd := exec.CommandContext(t.Context(), systemProgram(t, "setpriv"), argv...)
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + p.dir, "TERM=dumb", "XDG_RUNTIME_DIR=" + filepath.Join(p.dir, "runtime")}
	cmd.Dir = p.dir
	if _, err := os.Stat(p.target.State); err == nil {
		cmd.Dir = p.target.State
	}
	for _, path := range []string{p.target.Home, filepath.Join(p.target.Home, "auth.json"), "/", "/proc/self/ns/mnt", p.dir} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	// What this process was started with is not open there, so that these have the
	// highest numbers everywhere.
	cmd.ExtraFiles = append(cmd.ExtraFiles, make([]*os.File, 1000)...)
	return cmd
}

func (p *prisoner) mustRun(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := p.command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return out
}

// escape runs the program, behind the arguments of an agentproxy run or without.
func (p *prisoner) escape(t *testing.T, behind ...string) []escapeResult {
	t.Helper()
	target, err := json.Marshal(p.target)
	if err != nil {
		t.Fatal(err)
	}
	out := p.mustRun(t, append(behind, p.program, "-target", string(target))...)
	var all []escapeResult
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var r escapeResult
		if err := dec.Decode(&r); err != nil {
			t.Fatalf("the program says %q: %v", out, err)
		}
		all = append(all, r)
	}
	return all
}

// got returns which secret a way has got, or what else it has reached, or "".
func (p *prisoner) got(r escapeResult) string {
	for name, secret := range p.secrets {
		if bytes.Contains(r.Got, []byte(secret)) {
			return name
		}
	}
	return r.Reached
}

func (p *prisoner) isolated(mode string) []string {
	return []string{p.target.Agentproxy, "run", "--config", p.target.Config, "--isolate", mode, "--"}
}

// tells has a listener tell everybody a secret.
func (p *prisoner) tells(t *testing.T, l net.Listener) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(p.fixture.login.Current().AccessToken)) // it may be gone
			conn.Close()
		}
	}()
}

// servers starts those of the user that would do what they are told, and has the
// program ask them.
func (p *prisoner) servers(t *testing.T) {
	t.Helper()
	for _, address := range []string{"@agentproxy-" + filepath.Base(filepath.Dir(p.dir)), filepath.Join(p.dir, "runtime", "bus")} {
		l, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(address, "@") {
			if err := os.Chmod(address, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		p.tells(t, l)
		p.target.Sockets = append(p.target.Sockets, address)
	}
}

// ports starts web servers on addresses of this machine, and has the program ask
// them.
func (p *prisoner) ports(t *testing.T) {
	t.Helper()
	secret := p.fixture.login.Current().AccessToken
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, secret) }))
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP.To4(); ip != nil {
			p.target.URLs = append(p.target.URLs, "http://"+net.JoinHostPort(ip.String(), port))
		}
	}
}

// leastWays is how many ways have to be tried.
const leastWays = 40

// TestIsolationHolds has an ordinary user's agent try to read the log-in.
func TestIsolationHolds(t *testing.T) {
	t.Parallel()
	p := newPrisoner(t)
	p.mustRun(t, append(p.isolated("always"), "true")...) // makes what is in the state directory
	keys, err := filepath.Glob(filepath.Join(p.target.State, "ca", "*key*"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("the CA's key is not found: %v", err)
	}
	lines := strings.Split(readFile(t, keys[0]), "\n")
	p.secrets["the CA's key"] = lines[1]
	p.servers(t)
	p.secrets["a key of the kernel's"] = "kernel-key-" + filepath.Base(filepath.Dir(p.dir))
	p.mustRun(t, p.program, "-key", p.secrets["a key of the kernel's"])

	inside := p.escape(t, p.isolated("always")...)
	if len(inside) < leastWays {
		t.Errorf("%d ways were tried, want at least %d", len(inside), leastWays)
	}
	for _, r := range inside {
		if got := p.got(r); got != "" {
			t.Errorf("%s: an isolated command gets %s", r.Way, got)
		}
		if strings.Contains(r.Err, "exit status 2") {
			t.Errorf("%s was not tried: %s", r.Way, r.Err)
		}
	}
	if after := readFile(t, filepath.Join(p.target.Home, "auth.json")); !strings.Contains(after, p.fixture.login.Current().AccessToken) {
		t.Error("the log-in is not what it was")
	}
	p.ports(t)
	for _, r := range p.escape(t) {
		if r.Plain && p.got(r) == "" {
			t.Errorf("%s: does not even work where nothing is hidden: %s", r.Way, r.Err)
		}
	}
}

// TestIsolationOfNetwork has it look for another way out than the proxy.
func TestIsolationOfNetwork(t *testing.T) {
	t.Parallel()
	p := newPrisoner(t)
	p.ports(t)
	p.servers(t)
	for _, r := range p.escape(t, p.isolated("net")...) {
		if got := p.got(r); got != "" {
			t.Errorf("%s: a command without a network gets %s", r.Way, got)
		}
	}
	out := p.mustRun(t, append(p.isolated("net"), "curl", "-sSf", backendAPI+"/test/echo")...)
	if len(out) == 0 {
		t.Error("the proxy does not answer")
	}
}
