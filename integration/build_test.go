//go:build linux

package integration

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// copySources copies what the program is built of into a directory of its own.
func copySources(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "agentproxy")
	for _, name := range []string{"cmd", "authz", "certs", "identity", "internal", "proxy", "signer", filepath.Join("integration", "chatgpttest")} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join("..", name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Makefile", "go.mod", "go.sum", "documents.go", "config.example.yaml", "docs/troubleshooting.md"} {
		writeFile(t, filepath.Join(dir, name), []byte(readFile(t, filepath.Join("..", name))))
	}
	return dir
}

// makeTarget runs make in dir.
func makeTarget(t *testing.T, dir, target string) {
	t.Helper()
	// As whoever builds: with the caches that they have.
	cmd := exec.CommandContext(t.Context(), systemProgram(t, "make"), "-C", dir, "VERSION=v1.2.3", "COMMIT=0123456789ab", target)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", target, err, out)
	}
}

// TestBuildIsReproducible: the same source in another place gives the same bytes,
// which name the release and the commit, and no place.
func TestBuildIsReproducible(t *testing.T) {
	t.Parallel()
	var first []byte
	for range 2 {
		dir := copySources(t)
		makeTarget(t, dir, "build")
		path := filepath.Join(dir, "bin", "agentproxy")
		binary := []byte(readFile(t, path))
		if bytes.Contains(binary, []byte(dir)) {
			t.Error("the binary names the directory that it was built in")
		}
		if got := mustRun(t, baseEnv(t), path, "version"); !strings.HasPrefix(got, "agentproxy v1.2.3 (0123456789ab) go1.") {
			t.Errorf("agentproxy version: %s", got)
		}
		if first == nil {
			first = binary
		} else if !bytes.Equal(first, binary) {
			t.Errorf("%d and %d bytes, which differ", len(first), len(binary))
		}
	}
}

// TestFIPSBuild has the binary of make fips, which is in FIPS 140-3 mode, tell
// the whole story: registration, assertions, and TLS on both sides.
func TestFIPSBuild(t *testing.T) {
	t.Parallel()
	dir := copySources(t)
	makeTarget(t, dir, "fips")
	path := filepath.Join(dir, "bin", "agentproxy-fips")
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if settings := fmt.Sprint(info.Settings); !strings.Contains(settings, "GOFIPS140 v1.0.0") || !strings.Contains(settings, "fips140=on") {
		t.Errorf("built with %s", settings)
	}
	if out := mustRun(t, baseEnv(t), path, "demo"); !strings.Contains(out, "verified the assertion of agent") {
		t.Errorf("agentproxy demo: %s", out)
	}
}
