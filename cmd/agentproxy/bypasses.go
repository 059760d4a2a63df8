package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
)

// bypass is something in a Codex home that leads Codex past the proxy, whatever
// variables it is started with.
type bypass struct {
	what   string
	remedy string
}

func (b bypass) String() string { return b.what + "; " + b.remedy }

// bypasses returns what leads a Codex with the configured home past a proxy that
// listens as configured.
func (c *config) bypasses() []bypass {
	var found []bypass
	for _, server := range codexhome.Servers(c.Identity.CodexHome) {
		if u, err := url.Parse(server.Proxy); err == nil && c.leadsHere(u) {
			continue
		}
		by := "by no proxy"
		if server.Proxy != "" {
			by = "by another proxy"
		}
		found = append(found, bypass{
			fmt.Sprintf("Codex's background server (process %d) sends its requests %s, and every Codex with this home uses it", server.PID, by),
			"stop it: " + codexhome.StopServer,
		})
	}
	path := filepath.Join(c.Identity.CodexHome, ".env")
	raw, err := readFile(path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			found = append(found, bypass{fmt.Sprintf("%s cannot be read: %s", path, cli.Cause(err)), "see that it sets no proxy"})
		}
		return found
	}
	for _, line := range codexhome.DotenvLines(string(raw), dotenvVariables()) {
		found = append(found, bypass{
			fmt.Sprintf("%s:%d sets %s, which Codex prefers to the environment", path, line.Number, line.Name),
			"remove the line, or start Codex with agentproxy run",
		})
	}
	return found
}
