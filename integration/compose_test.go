//go:build linux

package integration

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// composeProject is what the tests need of a Compose file. That it is valid is
// checked in integration/deploy.
type composeProject struct {
	Services map[string]composeService
	Configs  map[string]struct{ File string }

	fixture *fixture
	dir     string            // that paths are relative to
	volumes map[string]string // directories by their names
}

type composeService struct {
	Command     []string
	User        string
	Environment map[string]string
	Configs     []composeFile
	Volumes     []any
	Tmpfs       []string
	Healthcheck struct{ Test []string }
}

type composeFile struct{ Source, Target string }

var interpolated = regexp.MustCompile(`\$\{([A-Z_]+)(?::\?[^}]*|:-([^}]*))?\}`)

// container makes the container of a service.
func (p *composeProject) container(t *testing.T, name, network string, img *containerImage) *container {
	t.Helper()
	service := p.Services[name]
	uid, err := strconv.Atoi(service.User)
	if service.User == "" {
		uid, err = containerUser, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newContainer(t, img, sandbox{network: network, uid: uid})
	for name, value := range service.Environment {
		c.env[name] = value
	}
	for _, config := range service.Configs {
		c.bind(t, filepath.Join(p.dir, p.Configs[config.Source].File), config.Target, true)
	}
	for _, volume := range service.Volumes {
		var source, target, option string
		switch volume := volume.(type) {
		case string:
			source, target, _ = strings.Cut(volume, ":")
			target, option, _ = strings.Cut(target, ":")
			source = p.volume(t, img, source, target)
		case map[string]any:
			source, target = filepath.Join(p.dir, fmt.Sprint(volume["source"])), fmt.Sprint(volume["target"])
			if volume["read_only"] == true {
				option = "ro"
			}
		}
		defer c.bind(t, source, target, option == "ro") // after what is in memory
	}
	for _, tmpfs := range service.Tmpfs {
		path, _, _ := strings.Cut(tmpfs, ":")
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o1777); err != nil {
			t.Fatal(err)
		}
		c.bind(t, dir, path, false)
	}
	return c
}

// volume returns the directory of a named volume. A new one is like the directory
// of the image that it is laid over.
func (p *composeProject) volume(t *testing.T, img *containerImage, name, target string) string {
	t.Helper()
	if dir := p.volumes[name]; dir != "" {
		return dir
	}
	dir := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command("cp", "-a", filepath.Join(img.root, target), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.volumes[name] = dir
	return dir
}

// TestComposeRuns follows docs/sidecar.md and runs the services of
// deploy/compose.yaml in the networks that they are to have, as far as that goes
// without an engine.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	inside, agents := newNetwork(t), newNetwork(t)
	connectNetworks(t, agents, agentAddress, inside, proxyAddress)
	f, upstream := newInternet(t, inside)
	dir := filepath.Join(f.prepare(t).dir, "deploy")
	variables := map[string]string{"AGENT_IMAGE": "agent", "PROXY_TOKEN": strings.TrimSpace(readFile(t, filepath.Join(dir, "secrets", "token")))}
	text := interpolated.ReplaceAllStringFunc(readFile(t, filepath.Join(dir, "compose.yaml")), func(s string) string {
		m := interpolated.FindStringSubmatch(s)
		return cmp.Or(variables[m[1]], m[2])
	})
	p := &composeProject{fixture: f, dir: dir, volumes: make(map[string]string)}
	if err := yaml.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	// Where the proxy's Internet is.
	etc := t.TempDir()
	upstream.write(t, etc, readFile(t, filepath.Join(dir, p.Configs["agentproxy"].File)))
	p.Configs["agentproxy"] = struct{ File string }{"config.yaml"}
	if err := os.Rename(filepath.Join(etc, "config.yaml"), filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}

	img, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	proxy, ca := p.container(t, "proxy", inside, img), p.container(t, "ca", newNetwork(t), img)
	for _, c := range []*container{proxy, ca} {
		c.bind(t, filepath.Join(etc, "upstream-ca.pem"), "/etc/agentproxy/upstream-ca.pem", true)
	}
	f.start(t, proxy.environ(), proxy.argv(t, slices.Concat(img.entrypoint, p.Services["proxy"].Command)...)...)
	for c, argv := range map[*container][]string{proxy: p.Services["proxy"].Healthcheck.Test[1:], ca: slices.Concat(img.entrypoint, p.Services["ca"].Command)} {
		if r := c.run(t, argv...); r.code != 0 {
			t.Fatalf("%q: exit code %d\n%s%s", argv, r.code, r.stdout, r.stderr)
		}
	}

	program := npmProgram(t, codexVersions[1].path)
	agent := agentImage(t, program)
	if err := os.Mkdir(filepath.Join(agent.root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(agent.root, "etc", "hosts") // for the engine's name server
	if err := os.WriteFile(hosts, []byte(proxyAddress+" proxy\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := p.container(t, "agent", agents, agent)
	c.addDevices(t, program)
	f.checkTurn(t, c, agent)
	for _, name := range []string{"state", "shared"} {
		if owner := strings.TrimSpace(mustRun(t, baseEnv(t), systemProgram(t, "stat"), "-c", "%u", p.volumes[name])); owner != strconv.Itoa(containerUser) {
			t.Errorf("the volume %s is the user %s's", name, owner)
		}
	}
}
