// Package configtest has what tests of the configuration and of what comes of it share.
package configtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
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

// Backend starts a stand-in for the backend, and returns it with a configuration whose
// log-in it knows. More keys can be added to the configuration.
func Backend(t *testing.T) (server *chatgpttest.Server, config string) {
	t.Helper()
	server = chatgpttest.NewServer()
	t.Cleanup(server.Close)
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"auth.json": server.Login(chatgpttest.Account{}).AuthJSON(),
		"ca.pem":    server.CertPEM(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return server, fmt.Sprintf(`
state_dir: %[1]s/state
identity: {codex_home: %[1]s}
upstream:
  ca_file: %[1]s/ca.pem
  connect_to: {"chatgpt.com:443": %[2]q, "auth.openai.com:443": %[2]q, "auth.api.openai.org:443": %[2]q}
`, dir, server.Addr())
}

// Registrations returns the paths of the requests to a stand-in that registered something.
func Registrations(server *chatgpttest.Server) (paths []string) {
	for _, r := range server.Requests() {
		if strings.HasSuffix(r.Path, "/register") {
			paths = append(paths, r.Path)
		}
	}
	return paths
}
