package certs_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

// These variables make the test binary open a CA in the directory that they
// name, or rotate it until it is killed, instead of running tests.
const (
	openDir   = "AGENTPROXY_TEST_OPEN_CA"
	rotateDir = "AGENTPROXY_TEST_ROTATE_CA"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(openDir); dir != "" {
		a, err := certs.Open(certs.Config{Dir: dir, Hosts: hosts})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(a.Fingerprint())
		os.Exit(0)
	}
	if dir := os.Getenv(rotateDir); dir != "" {
		for {
			if _, err := certs.Rotate(certs.Config{Dir: dir, Hosts: hosts}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			fmt.Println("rotated")
		}
	}
	os.Exit(m.Run())
}

// process is the test binary with a variable set.
func process(t *testing.T, variable, value string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+value)
	return cmd
}

func TestOpenAtOnceInProcesses(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var wg sync.WaitGroup
	prints := make([]string, 4)
	for i := range prints {
		cmd := process(t, openDir, cfg.Dir)
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			prints[i] = strings.TrimSpace(string(out))
		})
	}
	wg.Wait()
	want := open(t, cfg).Fingerprint()
	for _, print := range prints {
		if print != want {
			t.Errorf("CAs %q, want %s", prints, want)
		}
	}
}

// Killed at whatever moment, a process leaves a whole CA or none.
func TestKilledWhileRotating(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	for range 10 {
		cmd := process(t, rotateDir, cfg.Dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It is at it again when it has told of one.
		_, err = bufio.NewReader(stdout).ReadString('\n')
		time.Sleep(rand.N(10 * time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil || stderr.Len() > 0 {
			t.Fatal(err, stderr.String())
		}
		open(t, cfg)
	}
}
