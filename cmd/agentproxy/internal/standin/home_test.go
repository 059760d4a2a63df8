package standin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestBackendConfigIsLast: scripts start when the configuration is there, so all
// that it names is there before.
func TestBackendConfigIsLast(t *testing.T) {
	server := chatgpttest.NewServer()
	defer server.Close()
	for range 20 {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "codex-home", "auth.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		config, err := WriteHome(dir, server)
		if err == nil {
			t.Fatal("a log-in is written over a directory")
		}
		if _, err := os.Stat(filepath.Join(dir, "agentproxy.yaml")); err == nil {
			t.Fatalf("%s was written before the log-in", config)
		}
	}
}
