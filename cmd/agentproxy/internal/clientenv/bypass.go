package clientenv

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Bypass is something in a Codex home that leads Codex past the proxy, whatever its
// environment.
type Bypass struct {
	What   string
	Remedy string
	// Command does what Remedy says, or begins it.
	Command string
}

// String returns what leads past the proxy, and the remedy.
func (b Bypass) String() string { return b.What + "; " + b.Remedy }

// Bypasses returns what leads a Codex with the configured home past the configured proxy.
func Bypasses(c *config.Config) []Bypass {
	var found []Bypass
	for _, server := range codexhome.Servers(c.Agent.Identity.CodexHome) {
		if u, err := url.Parse(server.Proxy); err == nil && LeadsHere(c, u) {
			continue
		}
		by := "by no proxy"
		if server.Proxy != "" {
			by = "by another proxy"
		}
		found = append(found, Bypass{
			fmt.Sprintf("Codex's background server (process %d) sends its requests %s, and every Codex with this home uses it", server.PID, by),
			"stop it: " + codexhome.StopServer, codexhome.StopServer,
		})
	}
	path := filepath.Join(c.Agent.Identity.CodexHome, ".env")
	raw, err := cli.ReadFile(path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			found = append(found, Bypass{fmt.Sprintf("%s cannot be read: %s", path, safefile.Cause(err)), "see that it sets no proxy", "ls -l " + path})
		}
		return found
	}
	_, lines := codexhome.ScrubDotenv(string(raw), DotenvVariables())
	for _, line := range lines {
		found = append(found, Bypass{
			fmt.Sprintf("%s:%d sets %s, which Codex prefers to the environment", path, line.Number, line.Name),
			"remove the line, or start Codex with agentproxy run", `"${EDITOR:-vi}" ` + path,
		})
	}
	return found
}
