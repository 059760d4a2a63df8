//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// manifest is what the tests need of Kubernetes' objects. That they are valid is
// checked in integration/deploy.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct{ Spec podSpec }
	}
}

type podSpec struct {
	SecurityContext struct {
		FSGroup int `yaml:"fsGroup"`
	} `yaml:"securityContext"`
	InitContainers []containerSpec `yaml:"initContainers"`
	Containers     []containerSpec
	Volumes        []struct {
		Name      string
		ConfigMap *struct{ Name string } `yaml:"configMap"`
		Secret    *struct {
			SecretName string `yaml:"secretName"`
		}
	}
}

type containerSpec struct {
	Name          string
	Args          []string
	RestartPolicy string `yaml:"restartPolicy"`
	Env           []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	Lifecycle struct {
		PostStart struct{ Exec execSpec } `yaml:"postStart"`
	}
	StartupProbe struct{ Exec execSpec } `yaml:"startupProbe"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		SubPath   string `yaml:"subPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
	SecurityContext struct {
		RunAsUser  int `yaml:"runAsUser"`
		RunAsGroup int `yaml:"runAsGroup"`
	} `yaml:"securityContext"`
}

type execSpec struct{ Command []string }

// cluster is what pods find outside of themselves.
type cluster struct {
	fixture    *fixture
	internet   internet
	configMaps map[string]map[string]string
	secrets    map[string]map[string]string
	services   map[string]string // variables
	deployed   map[string]podSpec
}

// newCluster does what docs/sidecar.md says before the manifests of a file are
// applied, and reads them.
func newCluster(t *testing.T, network, file string) *cluster {
	t.Helper()
	c := &cluster{configMaps: make(map[string]map[string]string), secrets: make(map[string]map[string]string), deployed: make(map[string]podSpec)}
	c.fixture, c.internet = newInternet(t, network)
	for document := range strings.SplitSeq(readFile(t, filepath.Join("..", "deploy", "kubernetes", file)), "\n---\n") {
		var m manifest
		if err := yaml.Unmarshal([]byte(document), &m); err != nil {
			t.Fatal(err)
		}
		switch m.Kind {
		case "ConfigMap":
			c.configMaps[m.Metadata.Name] = m.Data
		case "Deployment":
			c.deployed[m.Metadata.Name] = m.Spec.Template.Spec
		}
	}
	c.fixture.prepare(t).apply(t, c, file)
	// The proxy's own configuration, and where its Internet is.
	dir := t.TempDir()
	c.internet.write(t, dir, c.configMaps["agentproxy-config"]["config.yaml"])
	for _, name := range []string{"config.yaml", "upstream-ca.pem"} {
		c.configMaps["agentproxy-config"][name] = readFile(t, filepath.Join(dir, name))
	}
	return c
}

// pod is a pod that runs, but for its agent.
type pod struct {
	cluster *cluster
	spec    podSpec
	network string
	volumes map[string]string // directories by their names
}

// start does with the pod of a Deployment what a kubelet does: volumes, the init
// containers in their order, sidecars among them, and then the others.
func (c *cluster) start(t *testing.T, deployment, network string) *pod {
	t.Helper()
	spec, ok := c.deployed[deployment]
	if !ok {
		t.Fatalf("there is no Deployment %s", deployment)
	}
	p := &pod{cluster: c, spec: spec, network: network, volumes: make(map[string]string)}
	for _, v := range spec.Volumes {
		dir := t.TempDir()
		p.volumes[v.Name] = dir
		group, mode := spec.SecurityContext.FSGroup, os.FileMode(0o755)
		switch {
		case v.ConfigMap != nil:
			layOut(t, dir, c.configMaps[v.ConfigMap.Name], group, 0o644)
		case v.Secret != nil:
			layOut(t, dir, c.secrets[v.Secret.SecretName], group, 0o440)
		default:
			mode = 0o777
			if group != 0 {
				mode |= os.ModeSetgid
			}
		}
		if err := os.Chown(dir, 0, group); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	img, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range spec.InitContainers {
		p.begin(t, img, spec, spec.RestartPolicy == "Always")
	}
	for _, spec := range spec.Containers {
		if spec.Name != "agent" {
			p.begin(t, img, spec, true)
		}
	}
	return p
}

// layOut writes the keys of a ConfigMap or a Secret into a volume.
func layOut(t *testing.T, dir string, data map[string]string, group int, mode os.FileMode) {
	t.Helper()
	if len(data) == 0 {
		t.Fatal("a volume is of something that there is not")
	}
	for name, content := range data {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(content))
		if err := os.Chown(path, 0, group); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// begin runs a container of the proxy's image until it is ready, or else to its
// end.
func (p *pod) begin(t *testing.T, img *containerImage, spec containerSpec, stays bool) {
	t.Helper()
	c := p.container(t, img, spec)
	argv := slices.Concat(img.entrypoint, spec.Args)
	if !stays {
		if r := c.run(t, argv...); r.code != 0 {
			t.Fatalf("the container %s: exit code %d\n%s%s", spec.Name, r.code, r.stdout, r.stderr)
		}
		return
	}
	hook := spec.Lifecycle.PostStart.Exec.Command
	hooked := make(chan result, 1)
	if len(hook) > 0 {
		prepared := c.argv(t, hook...)
		cmd := command(t, c.environ(), prepared[0], prepared[1:]...)
		go func() {
			out, err := cmd.CombinedOutput()
			hooked <- result{stderr: fmt.Sprint(string(out), err), code: cmd.ProcessState.ExitCode()}
		}()
	} else {
		hooked <- result{}
	}
	p.cluster.fixture.start(t, c.environ(), c.argv(t, argv...)...)
	if r := <-hooked; r.code != 0 {
		t.Fatalf("%q: %s", hook, r.stderr)
	}
	if r := c.run(t, spec.StartupProbe.Exec.Command...); r.code != 0 {
		t.Fatalf("%q: exit code %d\n%s", spec.StartupProbe.Exec.Command, r.code, r.stderr)
	}
}

var reference = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// container makes a container of an image as spec says.
func (p *pod) container(t *testing.T, img *containerImage, spec containerSpec) *container {
	t.Helper()
	box := sandbox{network: p.network, uid: spec.SecurityContext.RunAsUser, gid: spec.SecurityContext.RunAsGroup}
	if group := p.spec.SecurityContext.FSGroup; group != 0 {
		box.groups = []int{group}
	}
	c := newContainer(t, img, box)
	for _, mount := range spec.VolumeMounts {
		dir, ok := p.volumes[mount.Name]
		if !ok {
			t.Fatalf("there is no volume %s", mount.Name)
		}
		c.bind(t, filepath.Join(dir, mount.SubPath), mount.MountPath, mount.ReadOnly)
	}
	for _, v := range spec.Env {
		value := v.Value
		if from := v.ValueFrom.SecretKeyRef; from.Name != "" {
			value = p.cluster.secrets[from.Name][from.Key]
		}
		c.env[v.Name] = reference.ReplaceAllStringFunc(value, func(s string) string {
			name := reference.FindStringSubmatch(s)[1]
			if value, ok := c.env[name]; ok {
				return value
			}
			return p.cluster.services[name]
		})
	}
	return c
}

// testAgent has Codex finish a turn in the pod's container agent.
func (p *pod) testAgent(t *testing.T, codex string) {
	t.Helper()
	program := npmProgram(t, codex)
	i := slices.IndexFunc(p.spec.Containers, func(c containerSpec) bool { return c.Name == "agent" })
	if i < 0 {
		t.Fatal("the pod has no container agent")
	}
	spec := p.spec.Containers[i]
	img := agentImage(t, program)
	c := p.container(t, img, spec)
	c.addDevices(t, program)
	p.cluster.fixture.checkTurn(t, c, img)
}

// TestPodSidecar runs the manifests of the sidecar, as far as that goes without a
// cluster: there is no engine, no API server, and no policy of the network.
func TestPodSidecar(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	network := newNetwork(t)
	c := newCluster(t, network, "sidecar.yaml")
	c.start(t, "agentproxy", network).testAgent(t, codexVersions[1].path)
}

// TestPodGateway runs the manifests of the gateway, likewise.
func TestPodGateway(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	network, agents := newNetwork(t), newNetwork(t)
	connectNetworks(t, agents, agentAddress, network, proxyAddress)
	c := newCluster(t, network, "gateway.yaml")
	c.services = map[string]string{"AGENTPROXY_SERVICE_HOST": proxyAddress}
	c.start(t, "agentproxy", network)
	c.start(t, "agentproxy-agent", agents).testAgent(t, codexVersions[1].path)
}
