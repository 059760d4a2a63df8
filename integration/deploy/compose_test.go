package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// TestCompose reads deploy/compose.yaml as docker compose config does.
func TestCompose(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs(filepath.Join(deployDir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: types.Mapping{"AGENT_IMAGE": "agent", "PROXY_TOKEN": "token"},
	}, func(o *loader.Options) { o.SetProjectName("agentproxy", true) })
	if err != nil {
		t.Fatal(err)
	}
	agent, proxy, ca := project.Services["agent"], project.Services["proxy"], project.Services["ca"]
	for _, volume := range agent.Volumes {
		if volume.Source == "state" || !volume.ReadOnly || filepath.Base(volume.Source) == "secrets" {
			t.Errorf("the agent mounts %+v", volume)
		}
	}
	for _, service := range project.Services {
		for _, wrong := range filesWrong(project, service) {
			t.Error(wrong)
		}
	}
	if networks := agent.NetworksByPriority(); len(networks) != 1 || !project.Networks[networks[0]].Internal {
		t.Errorf("the agent is in %v", networks)
	} else if project.Networks[networks[0]].DriverOpts["com.docker.network.bridge.inhibit_ipv4"] != "true" || len(agent.DNS) != 1 {
		t.Error("the agent reaches the machine or its name server: make engines shows how")
	}
	for _, service := range []types.ServiceConfig{agent, proxy, ca} {
		if !service.ReadOnly || len(service.CapDrop) != 1 || service.Privileged {
			t.Errorf("%s may do more than it needs", service.Name)
		}
	}
	if on := agent.DependsOn; on["proxy"].Condition != types.ServiceConditionHealthy || on["ca"].Condition != types.ServiceConditionCompletedSuccessfully {
		t.Errorf("the agent starts after %v", on)
	}
	if ca.NetworkMode != "none" {
		t.Errorf("what exports the CA is in the network %q", ca.NetworkMode)
	}
}

// filesWrong says why Compose could not give a service its files. It copies into
// the container what is no file itself, which a read-only one refuses; and where
// a file to be mounted is missing, the engine may make a directory of that name.
func filesWrong(project *types.Project, service types.ServiceConfig) (wrong []string) {
	add := func(format string, args ...any) {
		wrong = append(wrong, service.Name+fmt.Sprintf(format, args...))
	}
	for _, config := range service.Configs {
		source := project.Configs[config.Source]
		if source.File == "" && service.ReadOnly {
			add(" is read-only and has the config %s, which is no file: it cannot be started", config.Source)
		} else if _, err := os.Stat(source.File); err != nil {
			add(" has a config that is not there: %v", err)
		}
	}
	for _, secret := range service.Secrets {
		if project.Secrets[secret.Source].File == "" && service.ReadOnly {
			add(" is read-only and has the secret %s, which is no file: it cannot be started", secret.Source)
		}
	}
	for _, volume := range service.Volumes {
		if volume.Type == types.VolumeTypeBind && (volume.Bind == nil || bool(volume.Bind.CreateHostPath)) {
			add(" has %s made as a directory if it is missing", volume.Source)
		}
	}
	return wrong
}

// TestComposeFiles shows that TestCompose fails for each way to give a service its
// files that does not work.
func TestComposeFiles(t *testing.T) {
	t.Parallel()
	const service = "services: {proxy: {image: agentproxy, read_only: true, %s}}\n"
	for name, yaml := range map[string]string{
		"a config from content":      fmt.Sprintf(service, "configs: [one]") + "configs: {one: {content: text}}",
		"a config from a variable":   fmt.Sprintf(service, "configs: [one]") + "configs: {one: {environment: HOME}}",
		"a config that is missing":   fmt.Sprintf(service, "configs: [one]") + "configs: {one: {file: ./no-such-file}}",
		"a secret from a variable":   fmt.Sprintf(service, "secrets: [one]") + "secrets: {one: {environment: HOME}}",
		"a file that may be missing": fmt.Sprintf(service, "volumes: ['./one:/one:ro']"),
	} {
		project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
			WorkingDir:  t.TempDir(),
			ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(yaml)}},
			Environment: types.Mapping{"HOME": "/"},
		}, func(o *loader.Options) { o.SetProjectName("agentproxy", true) })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if wrong := filesWrong(project, project.Services["proxy"]); len(wrong) != 1 {
			t.Errorf("%s: found %q", name, wrong)
		}
	}
}

// TestDockerfile has BuildKit's parser read the Dockerfile. What it does is tested
// in package integration.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range result.Warnings {
		t.Errorf("line %d: %s", warning.Location.Start.Line, warning.Short)
	}
	if len(result.AST.Children) < 10 {
		t.Errorf("only %d instructions", len(result.AST.Children))
	}
}
