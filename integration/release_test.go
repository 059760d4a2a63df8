//go:build linux

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestReleaseFiles holds the configuration of a release to what is here: the files of its
// archives, its hooks, and the variables that the linker sets. GoReleaser, which reads it, is
// fetched for a release alone.
func TestReleaseFiles(t *testing.T) {
	t.Parallel()
	var release struct {
		Before struct {
			Hooks []string `yaml:"hooks"`
		} `yaml:"before"`
		Builds []struct {
			Main    string   `yaml:"main"`
			Ldflags []string `yaml:"ldflags"`
		} `yaml:"builds"`
		Archives []struct {
			Directory bool  `yaml:"wrap_in_directory"`
			Files     []any `yaml:"files"` // a pattern, or a mapping with src
		} `yaml:"archives"`
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "../.goreleaser.yaml")), &release); err != nil {
		t.Fatal(err)
	}
	makefile := readFile(t, "../Makefile")
	for _, hook := range release.Before.Hooks {
		_, targets, ok := strings.Cut(hook, "make ")
		for _, target := range strings.Fields(targets) {
			if !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("the hook %q makes %s, which is no target", hook, target)
			}
		}
		if !ok {
			t.Errorf("the hook %q makes nothing", hook)
		}
	}
	if len(release.Builds) != 1 || len(release.Archives) != 1 {
		t.Fatalf("%d builds, %d archives", len(release.Builds), len(release.Archives))
	}
	if _, err := os.Stat(filepath.Join("..", release.Builds[0].Main, "main.go")); err != nil {
		t.Error(err)
	}
	variables := regexp.MustCompile(`-X github\.com/agentproxy/agentproxy/(\S+)\.(\w+)=`).FindAllStringSubmatch(strings.Join(release.Builds[0].Ldflags, " "), -1)
	if len(variables) != 2 {
		t.Errorf("the linker sets %q", variables)
	}
	for _, v := range variables {
		sources, _ := filepath.Glob(filepath.Join("..", v[1], "*.go"))
		declared := regexp.MustCompile(`(?m)^(var |\t)(\w+, )*` + v[2] + `\b`)
		found := false
		for _, source := range sources {
			found = found || declared.MatchString(readFile(t, source))
		}
		if !found {
			t.Errorf("the linker sets %s of %s, which is not declared", v[2], v[1])
		}
	}

	archive := release.Archives[0]
	if !archive.Directory {
		t.Error("the archive spreads its files over the directory in which it is unpacked")
	}
	var packed []string
	for _, file := range archive.Files {
		pattern, ok := file.(string)
		if !ok {
			pattern = fmt.Sprint(file.(map[string]any)["src"])
		}
		if strings.HasPrefix(pattern, "bin/") { // the hooks make them
			packed = append(packed, strings.TrimPrefix(pattern, "bin/"))
			continue
		}
		dir, name := filepath.Dir(pattern), filepath.Base(pattern)
		dir, below := strings.CutSuffix(dir, "/**")
		before := len(packed)
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, d fs.DirEntry, err error) error {
			rel := strings.TrimPrefix(path, "../")
			if err != nil || d.IsDir() {
				if err == nil && !below && rel != filepath.Clean(dir) && path != ".." && d.IsDir() {
					return filepath.SkipDir
				}
				return err
			}
			if ok, err := filepath.Match(name, d.Name()); err != nil || !ok {
				return err
			}
			packed = append(packed, rel)
			return nil
		})
		if err != nil || len(packed) == before {
			t.Errorf("%s: no file is packed: %v", pattern, err)
		}
	}
	for _, want := range []string{
		"LICENSE", "README.md", "SECURITY.md", "config.example.yaml", "docs/agentproxy.schema.json", "deploy/apparmor/agentproxy",
		"deploy/systemd/user/agentproxy.service", "deploy/systemd/system/agentproxy.socket", "deploy/systemd/sysusers.conf", "deploy/launchd/agentproxy.plist",
		"man/*", "completions/*",
	} {
		if !slices.Contains(packed, want) {
			t.Errorf("the archive lacks %s", want)
		}
	}
}
