package codexhome

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// startServer starts a program that looks like Codex's background server.
func startServer(t *testing.T, args []string, env ...string) int {
	t.Helper()
	script := filepath.Join(t.TempDir(), "codex")
	if err := os.WriteFile(script, []byte("echo ready\nread line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Read by a shell, and not executed, which a script that was just written may be too busy for.
	cmd := exec.Command("sh", append([]string{script}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the server said %q: %v", line, err)
	}
	return cmd.Process.Pid
}

// TestCodexServers finds the servers of one home, and where they send requests.
func TestCodexServers(t *testing.T) {
	t.Parallel()
	home, other := t.TempDir(), t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(home, link); err != nil {
		t.Fatal(err)
	}
	managed := []string{"app-server", "--listen", "unix://", "--managed-daemon"}
	want := []Server{
		{startServer(t, managed, "CODEX_HOME="+home, "HTTPS_PROXY=http://127.0.0.1:8080"), "http://127.0.0.1:8080"},
		{startServer(t, managed, "CODEX_HOME="+link), ""},
	}
	startServer(t, managed, "CODEX_HOME="+other)
	startServer(t, []string{"app-server"}, "CODEX_HOME="+home) // of an editor, which ends it

	got := Servers(home)
	slices.SortFunc(got, func(a, b Server) int { return a.PID - b.PID })
	slices.SortFunc(want, func(a, b Server) int { return a.PID - b.PID })
	if !slices.Equal(got, want) {
		t.Errorf("CodexServers: %+v, want %+v", got, want)
	}
}
