//go:build linux

package integration

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestBackendForOthers has a stand-in listen on all addresses, and a command use the
// configuration that it wrote, which leads to none that nobody can connect to.
func TestBackendForOthers(t *testing.T) {
	t.Parallel()
	start := func(args ...string) (config string) {
		t.Helper()
		dir := t.TempDir()
		cmd := command(t, baseEnv(t), agentproxy, append([]string{"backend", "--dir", dir}, args...)...)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		})
		if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.Contains(line, "stand-in backend on ") {
			t.Fatalf("%q, %v", line, err)
		}
		go func() { _, _ = bufio.NewReader(stderr).WriteTo(new(strings.Builder)) }()
		return filepath.Join(dir, "agentproxy.yaml")
	}
	to := regexp.MustCompile(`"chatgpt.com:443": "(.+)"\n`)
	config := start("--listen", "0.0.0.0:0")
	m := to.FindStringSubmatch(readFile(t, config))
	if m == nil || strings.HasPrefix(m[1], "0.0.0.0:") || strings.HasPrefix(m[1], "[::]:") {
		t.Fatalf("others are led to %q", m)
	}
	if out := run(t, append(baseEnv(t), "AGENTPROXY_ADMIN="), agentproxy, "sign", "--config", config); out.code != 0 || !strings.Contains(out.stdout, "AgentAssertion ") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	if m := to.FindStringSubmatch(readFile(t, start("--listen", "0.0.0.0:0", "--advertise", "backend.internal"))); m == nil || !strings.HasPrefix(m[1], "backend.internal:") {
		t.Errorf("others are led to %q", m)
	}
	if out := run(t, baseEnv(t), agentproxy, "backend", "--advertise", "a:1", "--dir", t.TempDir()); out.code != 2 || !strings.Contains(out.stderr, "--advertise a:1: it is a host without a port") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
}
