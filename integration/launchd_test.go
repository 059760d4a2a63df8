//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"howett.net/plist"
)

// launchAgent is what the plist says, by the keys of launchd.plist(5).
type launchAgent struct {
	Label                string
	ProgramArguments     []string
	EnvironmentVariables map[string]string
	RunAtLoad            bool
	KeepAlive            struct{ SuccessfulExit bool }
	ExitTimeOut          int
	Umask                int
	HardResourceLimits   struct{ Core int }
	ProcessType          string
}

// TestLaunchAgent reads the plist and runs what it says, as launchd would, though
// not on a Mac.
func TestLaunchAgent(t *testing.T) {
	t.Parallel()
	raw := []byte(readFile(t, filepath.Join("..", "deploy", "launchd", "agentproxy.plist")))
	var agent launchAgent
	if _, err := plist.Unmarshal(raw, &agent); err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if _, err := plist.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 9 || agent.Label != "agentproxy" || !agent.RunAtLoad || agent.ExitTimeOut <= 30 || agent.Umask != 0o077 {
		t.Errorf("%+v", agent)
	}

	f := newFixture(t, fixtureConfig{})
	home := t.TempDir()
	logs := filepath.Join(home, "Library", "Logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	environ := []string{"HOME=" + home, "AGENTPROXY_CONFIG=" + f.config, "PATH=" + filepath.Dir(agentproxy) + ":" + agent.EnvironmentVariables["PATH"]}
	cmd := command(t, environ, agent.ProgramArguments[0], agent.ProgramArguments[1:]...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a line in the log", func() bool {
		return strings.HasPrefix(readFile(t, filepath.Join(logs, "agentproxy.log")), "agentproxy: listening on 127.0.0.1:")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
