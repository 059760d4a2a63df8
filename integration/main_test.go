//go:build linux

// Package integration tests the built agentproxy with real clients: the Codex
// CLI, curl, Node, Python, git and a WebSocket client. Each gets a clean
// environment with what agentproxy env prints, and nothing else. The ChatGPT
// backend is the stand-in of package chatgpttest.
package integration

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// agentproxy is the path of the program under test.
var agentproxy string

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	if attack, ok := os.LookupEnv(attackVariable); ok {
		return attackMain(attack)
	}
	if behaved, ok := os.LookupEnv(behavedVariable); ok {
		return behavedMain(behaved)
	}
	dir, err := os.MkdirTemp("", "agentproxy-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agentproxy = filepath.Join(dir, "agentproxy")
	// Most of what make demo compiles, which the example in README then need not do anew.
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", agentproxy, "../cmd/agentproxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build agentproxy:", err)
		return 1
	}
	err = os.Chmod(dir, 0o711) // for programs of other users
	if err == nil {
		err = makeLSBRelease(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// makeLSBRelease makes a program of that name in dir that fails, as where there is none,
// and has clients find it first. Codex asks it for the name of the system, four times
// whenever it starts; Debian's is a script that starts twenty programs.
func makeLSBRelease(dir string) error {
	bin := filepath.Join(dir, "bin")
	clientPath = bin + ":" + systemPath
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bin, "lsb_release"), []byte("#!/bin/sh\nexit 127\n"), 0o755)
}

// clientPath is the PATH of clients that are started in the file system of the tests.
var clientPath string

// lookAtSources reads the directories of the program's sources. The go command
// takes note of what a test reads, and repeats one that passed when that changes.
// It does so from the first test on, not in TestMain.
var lookAtSources = sync.OnceValue(func() error {
	for _, dir := range []string{"cmd", "internal", "authz", "proxy", "signer", "identity", "certs"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(_ string, _ fs.DirEntry, err error) error { return err })
		if err != nil {
			return err
		}
	}
	_, err := os.Stat(filepath.Join("..", "go.mod"))
	return err
})

// systemPath is where the programs of the operating system are.
const systemPath = "/usr/local/bin:/usr/bin:/bin"

// systemProgram returns the path of a program of the operating system.
func systemProgram(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range filepath.SplitList(systemPath) {
		if path := filepath.Join(dir, name); isProgram(path) {
			return path
		}
	}
	t.Fatalf("%s is not installed; run make clients", name)
	return ""
}

// npmProgram returns the path of a program among those that clients/package.json
// lists.
func npmProgram(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("clients", "node_modules", path))
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(abs) {
		t.Fatalf("%s is missing; run make clients", abs)
	}
	return abs
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
