// Package configtest has what tests of the configuration and of what comes of it share.
package configtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Environment returns an environment of variables, and a home at /home/somebody unless the
// variables name one.
func Environment(variables map[string]string) cli.Environment {
	return cli.Environment{
		Lookup: func(name string) (string, bool) {
			if value, ok := variables[name]; ok {
				return value, true
			}
			if name == "HOME" {
				return "/home/somebody", true
			}
			return "", false
		},
		Environ: func() []string {
			list := []string{"HOME=/home/somebody"}
			for name, value := range variables {
				list = append(list, name+"="+value)
			}
			slices.Sort(list)
			return list
		},
	}
}

// Write writes a configuration, with $DIR for the directory that it is in, and returns
// its path.
func Write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	content = strings.ReplaceAll(content, "$DIR", filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
