//go:build linux

package integration

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// container is what an engine makes of an image: its files, which nobody can
// write to, with volumes laid over them, an environment, and a user.
type container struct {
	box     sandbox
	env     map[string]string
	volumes []string // the directories and files that are laid over its own
	program string   // the one of these that is the program's
}

func newContainer(t *testing.T, img *containerImage, box sandbox) *container {
	t.Helper()
	box.root = filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", img.root, box.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	box.mounts = []string{"mount --bind " + quote(box.root) + " " + quote(box.root)}
	return &container{box: box, env: maps.Clone(img.env)}
}

// bind lays a directory or a file over what is at a path of the container.
func (c *container) bind(t *testing.T, source, path string, isReadOnly bool) {
	t.Helper()
	target := filepath.Join(c.box.root, path)
	info, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	c.volumes = append(c.volumes, source)
	// What it is laid over may be in another volume.
	place := "mkdir -p " + quote(target)
	if !info.IsDir() {
		place = "mkdir -p " + quote(filepath.Dir(target)) + "\n touch " + quote(target)
	}
	c.box.mounts = append(c.box.mounts, place, "mount --bind "+quote(source)+" "+quote(target))
	if isReadOnly {
		c.box.mounts = append(c.box.mounts, "mount -o remount,bind,ro "+quote(target))
	}
}

// argv is the command that runs a program in the container.
func (c *container) argv(t *testing.T, args ...string) []string {
	t.Helper()
	box := c.box
	box.mounts = append(slices.Clone(box.mounts), "mount -o remount,bind,ro "+quote(box.root))
	return box.argv(t, args[0], args[1:]...)
}

// environ is the container's environment, and what lays it out needs.
func (c *container) environ() []string {
	environ := []string{"PATH=" + systemPath}
	for name, value := range c.env {
		environ = append(environ, name+"="+value)
	}
	return environ
}

// run runs a program in the container to its end.
func (c *container) run(t *testing.T, args ...string) result {
	t.Helper()
	argv := c.argv(t, args...)
	return run(t, c.environ(), argv[0], argv[1:]...)
}

// checkTurn has Codex finish a turn in a container, and looks for secrets in all
// that it finds there.
func (f *fixture) checkTurn(t *testing.T, c *container, img *containerImage) {
	t.Helper()
	r := c.run(t, append(slices.Clone(img.entrypoint), codexExec(codexQuiet...)...)...)
	if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
		t.Errorf("codex: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	f.checkSigned(t, chatgpttest.SchemeAgentAssertion)

	side := &sweep{fixture: f, secrets: make(map[string]string), written: make(map[string]string)}
	side.learn()
	side.learnKey(t, f.login.Identity().PrivateKeyPKCS8)
	for i, identity := range f.given {
		side.know(fmt.Sprint("identity ", i), identity)
	}
	side.files(t, c.box.root)
	files := 0
	for _, volume := range c.volumes {
		if !strings.HasPrefix(volume, "/dev/") && volume != c.program {
			side.files(t, volume)
			files++
		}
	}
	side.note("the environment", strings.Join(c.environ(), "\n"))
	for _, leak := range side.found() {
		t.Error(leak)
	}
	if len(side.secrets) < 10 || files < 3 || len(side.written) < 4 {
		t.Errorf("%d secrets were looked for in %d volumes with %d files", len(side.secrets), files, len(side.written))
	}
}

// internet is what a proxy finds in the place of the Internet: the stand-in, at an
// address of a network that leads nowhere else.
type internet struct{ backend *chatgpttest.Server }

// newInternet puts a backend into a network.
func newInternet(t *testing.T, network string) (*fixture, internet) {
	t.Helper()
	ip(t, "-n", network, "addr", "add", backendAddress+"/32", "dev", "lo")
	var f *fixture
	inNetwork(t, network, func() {
		f = newFixture(t, fixtureConfig{backend: chatgpttest.Config{Addr: backendAddress + ":443", Reply: codexReply}})
	})
	return f, internet{f.backend}
}

// write writes a proxy's configuration that leads there into dir, which is mounted
// as /etc/agentproxy.
func (i internet) write(t *testing.T, dir, config string) {
	t.Helper()
	if config == "" {
		config = "identity: {file: /etc/agentproxy/identity.json}\n"
	}
	config += fmt.Sprintf(`
upstream:
  connect_to: {"chatgpt.com:443": %[1]q, "*.chatgpt.com:443": %[1]q, "auth.openai.com:443": %[1]q}
  ca_file: /etc/agentproxy/upstream-ca.pem
`, i.backend.Addr())
	for name, content := range map[string]string{"config.yaml": config, "upstream-ca.pem": string(i.backend.CertPEM())} {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(content))
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// agentImage is an image with Codex in it, and nothing of agentproxy's.
func agentImage(t *testing.T, codex string) *containerImage {
	t.Helper()
	img := &containerImage{root: t.TempDir(), env: map[string]string{"TERM": "dumb"}}
	for _, dir := range []string{"proc", "dev"} {
		if err := os.Mkdir(filepath.Join(img.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(img.root, 0o755); err != nil {
		t.Fatal(err)
	}
	img.entrypoint = []string{filepath.Join("/usr/codex", filepath.Base(codex))}
	return img
}

// addDevices gives a container the devices and the processes that engines give it,
// and the directory of a program.
func (c *container) addDevices(t *testing.T, program string) {
	t.Helper()
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		c.bind(t, "/dev/"+device, "/dev/"+device, false)
	}
	c.program = filepath.Dir(program)
	c.bind(t, c.program, "/usr/codex", true)
	c.box.mounts = append(c.box.mounts, "mount -t proc -o hidepid=2 proc "+quote(filepath.Join(c.box.root, "proc")))
}
