//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// signingKey signs the JWTs of all stand-ins, for making one takes time.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// upstream is what a proxy takes for ChatGPT.
type upstream interface {
	Addr() string
	CertPEM() []byte
}

var _ upstream = (*chatgpttest.Server)(nil)

// firstGeneration is of a fixture whose agents assert everything, not inference alone.
const firstGeneration = "protocol: backend"

// fixtureConfig says how a fixture differs from the usual.
type fixtureConfig struct {
	backend  chatgpttest.Config
	yaml     string   // lines that the proxy's configuration has besides
	identity string   // keys of identity besides
	scope    string   // of the proxy: wideScope by default, or defaultScope
	upstream upstream // by default the backend
}

const (
	// wideScope signs whatever a test asks for, whose point is another one.
	wideScope = `scope: {allow: [all, {host: "*.chatgpt.com"}, {host: chat.openai.com}]}`
	// defaultScope is what a configuration has that says nothing. Real clients are
	// tested with it.
	defaultScope = "# no scope"
)

// fixture is a backend, a log-in that it knows, and the configuration of a proxy
// that signs for it.
type fixture struct {
	backend   *chatgpttest.Server
	login     *chatgpttest.Login
	config    string // the configuration's path
	stateDir  string
	codexHome string   // the user's own, with the secrets
	admin     string   // the address of the admin port, "" for none
	given     []string // the identities that were put somewhere for the proxy
	starter   []string // what starts the proxy, and execs it; by default nothing
	log       string   // what the proxies that have ended wrote
}

func newFixture(t *testing.T, c fixtureConfig) *fixture {
	t.Helper()
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	c.backend.SigningKey = signingKey()
	backend, err := chatgpttest.NewServerWith(c.backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	t.Cleanup(func() {
		for _, unwanted := range backend.Unwanted() {
			t.Errorf("the backend got a credential: %s", unwanted)
		}
		if t.Failed() {
			logRequests(t, backend)
		}
	})
	if c.upstream == nil {
		c.upstream = backend
	}
	if c.scope == "" {
		c.scope = wideScope
	}
	dir := t.TempDir()
	f := &fixture{
		backend:   backend,
		login:     backend.Login(chatgpttest.Account{}),
		config:    filepath.Join(dir, "agentproxy.yaml"),
		stateDir:  filepath.Join(dir, "state"),
		codexHome: filepath.Join(dir, "users-codex-home"),
	}
	if err := os.Mkdir(f.codexHome, 0o700); err != nil {
		t.Fatal(err)
	}
	caFile := filepath.Join(dir, "upstream-ca.pem")
	writeFile(t, caFile, c.upstream.CertPEM())
	writeFile(t, filepath.Join(f.codexHome, "auth.json"), f.login.AuthJSONWithIdentity("C"))
	if c.identity != "" {
		c.identity = ", " + c.identity
	}
	writeFile(t, f.config, fmt.Appendf(nil, `listen: 127.0.0.1:0
admin: ""
state_dir: %q
identity: {codex_home: %q%[7]s}
upstream:
  connect_to:
    "chatgpt.com:443": %[3]q
    "*.chatgpt.com:443": %[3]q
    "chat.openai.com:443": %[3]q
    "auth.openai.com:443": %[3]q
  ca_file: %[4]q
other_hosts: refuse
log: {level: debug, format: json}
%[5]s
%[6]s
`, f.stateDir, f.codexHome, c.upstream.Addr(), caFile, c.scope, c.yaml, c.identity))
	return f
}

// secrets are what no client, no log and no answer may ever hold.
func (f *fixture) secrets() map[string]string {
	current := f.login.Current()
	secrets := map[string]string{
		"the id token":      current.IDToken,
		"the access token":  current.AccessToken,
		"the refresh token": current.RefreshToken,
	}
	if id := f.login.Identity(); id != nil {
		secrets["the agent's key"] = id.PrivateKeyPKCS8
	}
	return secrets
}

// checkNoSecret fails the test if text holds a secret of the log-in.
func (f *fixture) checkNoSecret(t *testing.T, where, text string) {
	t.Helper()
	for name, secret := range f.secrets() {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds %s", where, name)
		}
	}
}

// proxy is a running agentproxy serve.
type proxy struct {
	fixture *fixture
	addr    string
	ca      string // the path of its CA
	env     []string
	process *os.Process
	log     *lockedLog
}

// lockedLog is a log that may be read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var listening = regexp.MustCompile(`^agentproxy: listening on (\S+), signing as .*, CA (.+)$`)

// serve starts the proxy.
func (f *fixture) serve(t *testing.T) *proxy {
	t.Helper()
	p := f.start(t, baseEnv(t), append(slices.Clone(f.starter), agentproxy, "serve", "--config", f.config)...)
	if !strings.HasPrefix(p.addr, "unix:") { // which no client's variable can name
		p.env = p.clientEnv(t)
	}
	return p
}

// start starts the proxy by a command of its own. When the test ends it is told
// to end as well, and must do so at once, with exit code 0 and without a secret
// in its log.
func (f *fixture) start(t *testing.T, environ []string, argv ...string) *proxy {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environ
	return f.startCommand(t, cmd)
}

// startCommand is start for a command that is given files besides.
func (f *fixture) startCommand(t *testing.T, cmd *exec.Cmd) *proxy {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr // it has nothing to say there
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := new(lockedLog)
	ready, ended := make(chan []string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			_, _ = log.Write([]byte(line))
			if m := listening.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
				ready <- m
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		hung := time.AfterFunc(2*time.Minute, func() {
			t.Error("agentproxy serve was still running two minutes after SIGTERM")
			_ = cmd.Process.Signal(syscall.SIGQUIT) // says where it hangs
		})
		defer hung.Stop()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("agentproxy serve: %v", err)
		}
		<-ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("agentproxy serve: %v", err)
		}
		f.log += log.String()
		f.checkNoSecret(t, "the log of agentproxy serve", log.String())
		checkLogFields(t, log.String())
		if strings.HasPrefix(t.Name(), "TestCodex") && strings.Contains(log.String(), `"out_of_scope":`) {
			t.Error("Codex asked for something that is out of scope")
		}
		if strings.Contains(log.String(), "panic serving") {
			t.Error("something panicked in agentproxy serve")
		}
		if t.Failed() {
			t.Logf("agentproxy serve:\n%s", log.String())
		}
	})
	select {
	case m := <-ready:
		return &proxy{fixture: f, addr: m[1], ca: m[2], process: cmd.Process, log: log}
	case <-ended:
		t.Fatal("agentproxy serve did not start")
	case <-time.After(2 * time.Minute):
		t.Fatal("agentproxy serve does not say that it listens")
	}
	return nil
}

// baseEnv is an environment with nothing in it that leads to a proxy or a CA.
func baseEnv(t *testing.T) []string {
	t.Helper()
	home := t.TempDir()
	return []string{"PATH=" + clientPath, "HOME=" + home, "TERM=dumb", "XDG_CONFIG_HOME=" + filepath.Join(home, ".config")}
}

// clientEnv returns the environment of the proxy's clients: what agentproxy env
// prints, and nothing besides baseEnv.
func (p *proxy) clientEnv(t *testing.T) []string {
	t.Helper()
	// The configuration leaves the port to the system.
	environ := append(baseEnv(t), "AGENTPROXY_LISTEN="+p.addr)
	env := baseEnv(t)
	for line := range strings.Lines(mustRun(t, environ, agentproxy, "env", "--config", p.fixture.config)) {
		name, value, err := parseExport(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+value)
	}
	return env
}

var export = regexp.MustCompile(`^export ([A-Za-z_][A-Za-z0-9_]*)='((?:[^']|'\\'')*)'$`)

func parseExport(line string) (name, value string, err error) {
	m := export.FindStringSubmatch(line)
	if m == nil {
		return "", "", fmt.Errorf("agentproxy env printed %q", line)
	}
	return m[1], strings.ReplaceAll(m[2], `'\''`, "'"), nil
}

// getenv returns a variable of the clients' environment.
func (p *proxy) getenv(t *testing.T, name string) string {
	t.Helper()
	for _, entry := range p.env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	t.Fatalf("agentproxy env does not set %s", name)
	return ""
}

// url returns the proxy's URL, as its clients are told it.
func (p *proxy) url(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(p.getenv(t, "HTTPS_PROXY"))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// serveUsual starts a proxy of the usual kind.
func serveUsual(t *testing.T) *proxy {
	t.Helper()
	return newFixture(t, fixtureConfig{}).serve(t)
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeProgram writes a script that can be executed. It is another process that writes it:
// what is started meanwhile by another test inherits a file that this one has open for
// writing, and until it has let go of that the script is busy (ETXTBSY).
func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	cmd := command(t, baseEnv(t), systemProgram(t, "sh"), "-c", `cat >"$1" && chmod 755 "$1"`, "sh", path)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
