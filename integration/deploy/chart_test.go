// Package deploy checks the files in deploy/ with the code of those who read them:
// Helm's, Kubernetes' types, Compose's and BuildKit's. It is a module of its own,
// since none of that is part of agentproxy.
package deploy

import (
	"bytes"
	"flag"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

var update = flag.Bool("update", false, "write deploy/kubernetes from the chart")

var (
	deployDir = filepath.Join("..", "..", "deploy")
	chartDir  = filepath.Join(deployDir, "helm", "agentproxy")
	modes     = []string{"sidecar", "gateway"}
)

// render renders the chart as helm template would.
func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := chartutil.ToRenderValues(chart, values, chartutil.ReleaseOptions{Name: "agentproxy", Namespace: "default", IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, merged)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range []string{"sidecar.yaml", "gateway.yaml"} {
		all.WriteString(files[path.Join("agentproxy", "templates", name)])
	}
	return strings.TrimSpace(all.String()) + "\n", nil
}

// TestLint is helm lint, in which a warning counts too.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		result := lint.All(chartDir, map[string]any{"mode": mode}, "default", true)
		for _, message := range result.Messages {
			if message.Severity >= support.WarningSev {
				t.Errorf("%s: %s", mode, message)
			}
		}
	}
}

// TestManifestsAreTheCharts: deploy/kubernetes is what the chart makes of its
// defaults. Write it with go test -run TestManifestsAreTheCharts -update.
func TestManifestsAreTheCharts(t *testing.T) {
	for _, mode := range modes {
		got, err := render(t, map[string]any{"mode": mode})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(deployDir, "kubernetes", mode+".yaml")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not what the chart makes:\n%s", file, got)
		}
	}
}

// TestValues has the chart take what its values allow, and refuse what would be
// unsafe.
func TestValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		values     map[string]any
		want, fail string
	}{
		{values: map[string]any{"config": map[string]any{"log": map[string]any{"level": "debug"}}}, want: "level: debug"},
		{values: map[string]any{"otherHosts": []any{"github.com"}}, want: "other_hosts:\n    - github.com"},
		{values: map[string]any{"agent": map[string]any{"uid": 1234, "command": []any{"codex", "exec"}}}, want: "- 1234"},
		{values: map[string]any{"mode": "both"}, fail: `mode: "both" is neither sidecar nor gateway`},
		{values: map[string]any{"agent": map[string]any{"uid": 65532}}, fail: "agent.uid: 65532 is root's or the proxy's"},
		{values: map[string]any{"agent": map[string]any{"uid": 0}}, fail: "agent.uid: 0 is root's or the proxy's"},
	} {
		got, err := render(t, test.values)
		if test.fail != "" {
			if err == nil || !strings.Contains(err.Error(), test.fail) {
				t.Errorf("%v: error %v, want %q", test.values, err, test.fail)
			}
			continue
		}
		if err != nil || !strings.Contains(got, test.want) {
			t.Errorf("%v: %v, want %q in\n%s", test.values, err, test.want, got)
		}
		for _, document := range documents(got) {
			decode(t, document)
		}
	}
}

// documents are those of a file that have anything in them.
func documents(file string) [][]byte {
	all := bytes.Split([]byte(file), []byte("\n---\n"))
	return slices.DeleteFunc(all, func(document []byte) bool { return len(bytes.TrimSpace(document)) == 0 })
}
