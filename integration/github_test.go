//go:build linux

package integration

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// workflow is what a workflow of GitHub Actions says of its jobs.
type workflow struct {
	Permissions any `yaml:"permissions"`
	Jobs        map[string]struct {
		Strategy struct {
			Matrix struct {
				Target []string `yaml:"target"`
			} `yaml:"matrix"`
		} `yaml:"strategy"`
		Steps []struct {
			Uses string `yaml:"uses"`
			Run  string `yaml:"run"`
		} `yaml:"steps"`
	} `yaml:"jobs"`
}

// notInWorkflows are the targets of make that no workflow runs, besides those that make what
// is released.
var notInWorkflows = map[string]string{
	"attacks": "measures times, on a machine that does nothing else", "bench": "likewise",
	"pictures": "changes files here", "vuln-offline": "make vuln, by the database of a day that is past",
	"demo": "make test runs it", "lint": "likewise", "vet": "likewise", "staticcheck": "likewise", "build": "", "fips": "", "man": "", "completions": "", "deb": "", "release-try": "", "sbom": "",
}

// TestWorkflows holds the workflows to actions of a stated version, to targets of
// make that exist, and to permissions that they name; and every target of make that tests
// anything to some workflow.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatal("no workflows: ", err)
	}
	makefile := readFile(t, "../Makefile")
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})$`)
	target := regexp.MustCompile(`(?m)(?:^|&&|;)\s*make ([a-z-]+)`)
	all := ""
	for _, path := range paths {
		var w workflow
		if err := yaml.Unmarshal([]byte(readFile(t, path)), &w); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if w.Permissions == nil {
			t.Errorf("%s names no permissions, so that its token may have any", path)
		}
		if len(w.Jobs) == 0 {
			t.Errorf("%s has no jobs", path)
		}
		for name, job := range w.Jobs {
			for _, step := range job.Steps {
				if each := job.Strategy.Matrix.Target; len(each) > 0 {
					step.Run = strings.ReplaceAll(step.Run, "make ${{ matrix.target }}", "make "+strings.Join(each, "\nmake "))
				}
				all += step.Run + "\n"
				if step.Uses != "" && !pinned.MatchString(step.Uses) {
					t.Errorf("%s: %s uses %s, which is no single version", path, name, step.Uses)
				}
				for _, m := range target.FindAllStringSubmatch(step.Run, -1) {
					if !strings.Contains(makefile, "\n"+m[1]+":") {
						t.Errorf("%s: %s makes %s, which is no target", path, name, m[1])
					}
				}
			}
		}
	}
	documented := regexp.MustCompile(`(?m)^## ([a-z-]+): `).FindAllStringSubmatch(makefile, -1)
	if len(documented) < 20 {
		t.Errorf("the Makefile documents %d targets", len(documented))
	}
	for _, m := range documented {
		_, not := notInWorkflows[m[1]]
		if runs := regexp.MustCompile(`(?m)(^|\s)make ` + m[1] + `( |$)`).MatchString(all); runs == not {
			t.Errorf("make %s: some workflow runs it: %t, notInWorkflows has it: %t", m[1], runs, not)
		}
	}
}
