package connect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs has what the suites run: agentproxy, and the Connect project's own.
var programs string

// role is set for what a suite starts in place of a server or a client.
const role = "AGENTPROXY_CONFORMANCE_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(testMain(m))
	case "server":
		exit(beServer())
	case "client":
		exit(beClient())
	}
	exit(fmt.Errorf("%s=%s is no role", role, os.Getenv(role)))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func testMain(m *testing.M) int {
	var err error
	if programs, err = os.MkdirTemp("", "agentproxy-conformance-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	for dir, what := range map[string][]string{
		".":                             {"-o", programs, "tool"},
		filepath.Join("..", "..", ".."): {"-o", filepath.Join(programs, "agentproxy"), "./cmd/agentproxy"},
	} {
		build := exec.Command("go", append([]string{"build", "-trimpath"}, what...)...)
		build.Dir = dir
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build", what, err)
			return 1
		}
	}
	return m.Run()
}
