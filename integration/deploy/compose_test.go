package deploy

import (
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
	if len(agent.Secrets) > 0 || len(proxy.Secrets) != 2 {
		t.Errorf("the agent has %v, the proxy %v", agent.Secrets, proxy.Secrets)
	}
	for _, volume := range agent.Volumes {
		if volume.Source == "state" || !volume.ReadOnly {
			t.Errorf("the agent mounts %+v", volume)
		}
	}
	if networks := agent.NetworksByPriority(); len(networks) != 1 || !project.Networks[networks[0]].Internal {
		t.Errorf("the agent is in %v", networks)
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
