//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a program that was started, with its children.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // the file that holds what it says
	ended chan struct{}
}

// startProcess starts a program in a process group of its own. What it says goes
// to a file in dir.
func startProcess(dir, name string, argv, environ []string) (*process, error) {
	path := filepath.Join(dir, "output.log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, environ
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: path, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the program and its children: at first politely.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Second):
	}
	// The group is the program's own, and outlives it as long as a child does.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// awaitListening waits until somebody accepts connections at address.
func (p *process) awaitListening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("it does not listen after 30 seconds"))
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at once: %s", p.name, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", p.name, context.Cause(ctx), p.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords returns the end of what the program said, on one line.
func (p *process) lastWords() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(raw), []byte("\n"))
	lines = lines[max(0, len(lines)-5):]
	return strings.TrimSpace(string(bytes.Join(lines, []byte("; "))))
}

// usage is what a program and its children have used so far.
func (p *process) usage() (usage, error) {
	if p == nil { // direct
		return usage{}, nil
	}
	u, err := treeUsage("/proc", p.cmd.Process.Pid)
	if err != nil {
		return usage{}, fmt.Errorf("%s: %w: %s", p.name, err, p.lastWords())
	}
	return u, nil
}

// freeAddress returns an address of this machine that nobody listens on. It is one of many,
// with a port that the system gives to nobody who asks for any: that of another could be
// taken before the program listens.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:8080", 128+rand.N(64), rand.N(256), 1+rand.N(250)))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
