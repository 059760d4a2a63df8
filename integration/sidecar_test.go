//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// agentUser is the user of the agent's side.
const agentUser = 1000

// TestSidecar has Codex work in what would be a container: as another user than
// the proxy's, with a file system of its own that holds no secret. In the one case
// it has a network of its own too, out of which only the proxy leads, and shows a
// token; in the other it shares the proxy's network, as the containers of a pod
// do, and is let in as the user that it is.
func TestSidecar(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	for _, version := range codexVersions {
		t.Run("own network/"+version.name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, newNetwork(t), "listen: "+proxyAddress+":8080\nclients: {token: sesame}")
			connectNetworks(t, s.agent.network, agentAddress, s.proxy.network, proxyAddress)
			s.start(t)
			s.testTurn(t, version.path, "http://build-42:sesame@"+proxyAddress+":8080")
			s.testNoSecret(t)

			want := "192.0.2.0/30 dev eth0 proto kernel scope link src " + agentAddress
			if got := routes(t, s.agent.network); got != want {
				t.Errorf("the agent's routes are\n%s\nwant\n%s", got, want)
			}
			for _, address := range []string{backendAddress + ":443", proxyAddress + ":443", proxyAddress + ":9080"} {
				if r := s.curl(t, s.agent.uid, "--noproxy", "*", "--connect-to", "::"+address, backendAPI+"/test/echo"); r.Exit != 7 { // no connection
					t.Errorf("past the proxy to %s: curl's exit code %d, status %d", address, r.Exit, r.Code)
				}
			}
		})
		t.Run("shared network/"+version.name, func(t *testing.T) {
			t.Parallel()
			s := newSidecar(t, "", fmt.Sprintf("listen: 127.0.0.1:8080\nclients: {allow_uids: [%d]}", agentUser))
			s.start(t)
			s.testTurn(t, version.path, "http://127.0.0.1:8080")
			s.testNoSecret(t)

			// It gets past the proxy, with nothing to show.
			if r := s.curl(t, s.agent.uid, "--noproxy", "*", "--connect-to", "::"+backendAddress+":443", backendAPI+"/test/echo"); r.Code != 401 {
				t.Errorf("past the proxy: status %d, want 401", r.Code)
			}
			if r := s.curl(t, s.agent.uid, "http://127.0.0.1:9080/readyz"); r.Code != 403 {
				t.Errorf("the admin port: status %d, want 403", r.Code)
			}
			if r := s.curl(t, s.agent.uid+1, "--proxy", "http://127.0.0.1:8080", backendAPI+"/test/echo"); r.Connect != 403 {
				t.Errorf("another user of the pod: CONNECT answered with %d, want 403", r.Connect)
			}
		})
	}
}

// sidecar is a proxy and an agent, each where the other cannot reach.
type sidecar struct {
	fixture *fixture
	binary  string
	given   string // the directory of the identity
	shared  string // what the agent may have of the proxy's side
	home    string // of the agent
	proxy   sandbox
	agent   sandbox
}

// newSidecar lays both sides out. The agent is in the proxy's network unless one
// is named.
func newSidecar(t *testing.T, network, settings string) *sidecar {
	t.Helper()
	s := &sidecar{
		proxy: sandbox{network: newNetwork(t), uid: containerUser},
		agent: sandbox{network: network, uid: agentUser},
	}
	if network == "" {
		s.agent.network = s.proxy.network
	}
	ip(t, "-n", s.proxy.network, "addr", "add", backendAddress+"/32", "dev", "lo")
	inNetwork(t, s.proxy.network, func() {
		s.fixture = newFixture(t, fixtureConfig{backend: chatgpttest.Config{Addr: backendAddress + ":443", Reply: codexReply}})
	})
	f := s.fixture
	dir := filepath.Dir(f.config)
	s.binary, s.given = copyProgram(t, dir), filepath.Join(dir, "given")
	file := filepath.Join(s.given, "identity.json")
	f.edit(t, "listen: 127.0.0.1:0\nadmin: \"\"\n", settings+"\nadmin: 127.0.0.1:9080\n",
		fmt.Sprintf("identity: {codex_home: %q}", f.codexHome), fmt.Sprintf("identity: {codex_home: nowhere, file: %q}", file))
	if err := os.Mkdir(s.given, 0o700); err != nil {
		t.Fatal(err)
	}
	giveTo(t, dir, containerUser)
	f.giveIdentity(t, file)
	giveToGroup(t, s.given, containerUser)
	giveToGroup(t, f.config, containerUser)
	giveToGroup(t, filepath.Join(dir, "upstream-ca.pem"), containerUser)
	if err := os.Chmod(s.binary, 0o711); err != nil {
		t.Fatal(err)
	}
	s.proxy.mounts = []string{readOnly(s.given)}

	s.agent.root = t.TempDir()
	s.shared, s.home = filepath.Join(s.agent.root, "agentproxy"), filepath.Join(s.agent.root, "home")
	for _, name := range []string{"agentproxy", "home", "tmp", "dev", "proc", "codex"} {
		if err := os.Mkdir(filepath.Join(s.agent.root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start starts the proxy's side in the order that is worst for it, and hands the
// agent's side what it may have.
func (s *sidecar) start(t *testing.T) {
	t.Helper()
	for dir, owner := range map[string]int{s.shared: containerUser, s.home: agentUser, filepath.Join(s.agent.root, "tmp"): agentUser} {
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	config := s.fixture.config
	bundle := filepath.Join(s.shared, "bundle.pem")
	waiting := s.proxy.argv(t, s.binary, "ca", "export", "--wait", "--bundle", "--config", config, "--output", bundle)
	export := command(t, baseEnv(t), waiting[0], waiting[1:]...)
	if err := export.Start(); err != nil {
		t.Fatal(err)
	}
	s.fixture.start(t, baseEnv(t), s.proxy.argv(t, s.binary, "serve", "--config", config)...)
	if err := export.Wait(); err != nil {
		t.Fatalf("agentproxy ca export --wait: %v", err)
	}
	if r := s.proxy.run(t, baseEnv(t), s.binary, "check", "--ready", "--config", config); r.code != 0 {
		t.Fatalf("not ready: %s%s", r.stdout, r.stderr)
	}
	// As the agent's user, to whom it is to belong, in the group that may read the identity.
	owner := sandbox{network: s.proxy.network, uid: agentUser, gid: containerUser}
	if r := owner.run(t, baseEnv(t), s.binary, "identity", "placeholder", "--config", config, "--output", filepath.Join(s.home, "auth.json")); r.code != 0 {
		t.Fatalf("no placeholder: %s", r.stderr)
	}
}

// testTurn has Codex finish a turn on the agent's side.
func (s *sidecar) testTurn(t *testing.T, codex, proxyURL string) {
	t.Helper()
	program := npmProgram(t, codex)
	root := s.agent.root
	box := s.agent
	box.mounts = []string{
		readOnly(s.shared),
		"mount --bind " + quote(filepath.Dir(program)) + " " + quote(filepath.Join(root, "codex")),
		"mount -t proc -o hidepid=2 proc " + quote(filepath.Join(root, "proc")),
		"for device in null zero random urandom; do touch " + quote(root) + "/dev/$device; mount --bind /dev/$device " + quote(root) + "/dev/$device; done",
	}
	environ := []string{
		"HOME=/home", "CODEX_HOME=/home", "TERM=dumb",
		"HTTPS_PROXY=" + proxyURL, "CODEX_CA_CERTIFICATE=/agentproxy/bundle.pem", "SSL_CERT_FILE=/agentproxy/bundle.pem",
	}
	r := box.run(t, environ, "/codex/codex", codexExec(codexQuiet...)...)
	if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
		t.Errorf("codex: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	metrics := sandbox{network: s.proxy.network, uid: s.proxy.uid}.run(t, []string{"PATH=" + systemPath}, systemProgram(t, "curl"), "-sS", "http://127.0.0.1:9080/metrics")
	if signed := `agentproxy_requests_total{code="101",host="chatgpt.com",signer="agent-assertion"} 1`; !strings.Contains(metrics.stdout, signed+"\n") {
		t.Errorf("the metrics do not say %s:\n%s%s", signed, metrics.stdout, metrics.stderr)
	}
	requests := s.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	checkNowhere(t, requests, placeholderTokens(t, []byte(readFile(t, filepath.Join(s.home, "auth.json")))))
}

// testNoSecret looks for the secrets in all files of the agent's side, and has its
// user try to read those of the proxy's side.
func (s *sidecar) testNoSecret(t *testing.T) {
	t.Helper()
	side := &sweep{fixture: s.fixture, secrets: make(map[string]string), written: make(map[string]string)}
	side.learn()
	side.learnKey(t, s.fixture.login.Identity().PrivateKeyPKCS8)
	side.know("the identity", readFile(t, filepath.Join(s.given, "identity.json")))
	side.files(t, s.agent.root)
	for _, leak := range side.found() {
		t.Error(leak)
	}
	if len(side.secrets) < 10 || side.written[filepath.Join(s.home, "auth.json")+", mode -rw-------"] == "" {
		t.Errorf("%d secrets were looked for in %d files", len(side.secrets), len(side.written))
	}

	var files []string
	err := filepath.WalkDir(filepath.Dir(s.fixture.config), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const try = `for file; do if head -c 1 "$file" >/dev/null 2>&1; then echo "$file"; fi; done`
	thief := s.agent
	thief.root = "" // as if it had got out of its own
	arguments := append([]string{"-c", try, "sh"}, files...)
	if read := thief.run(t, baseEnv(t), systemProgram(t, "sh"), arguments...).stdout; read != "" {
		t.Errorf("the agent's user can read\n%s", read)
	}
	own := s.proxy.run(t, baseEnv(t), systemProgram(t, "sh"), arguments...).stdout
	for _, name := range []string{"identity.json", "ca-key.pem", "agentproxy.yaml"} {
		if !strings.Contains(own, name) {
			t.Errorf("the proxy's own user cannot read %s either", name)
		}
	}
}

// curl runs curl as a user in the agent's network.
func (s *sidecar) curl(t *testing.T, uid int, args ...string) curlResult {
	t.Helper()
	box := sandbox{network: s.agent.network, uid: uid}
	args = append([]string{"-sSk", "-o", "/dev/null", "-w", "%{json}", "--connect-timeout", "10"}, args...)
	out := box.run(t, []string{"PATH=" + systemPath, "HOME=/"}, systemProgram(t, "curl"), args...)
	var r curlResult
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("curl: %v\n%s%s", err, out.stdout, out.stderr)
	}
	return r
}
