package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// said is what a command has to say besides its result. While a program that it
// runs has the terminal, it is kept back.
type said struct {
	mu    sync.Mutex
	held  bool
	lines []string
}

// warn says a line on standard error.
func (c *command) warn(line string) {
	c.said.mu.Lock()
	defer c.said.mu.Unlock()
	if !c.said.held {
		fmt.Fprintln(c.stderr, "agentproxy: "+line)
	} else if !slices.Contains(c.said.lines, line) {
		c.said.lines = append(c.said.lines, line)
	}
}

// holdBack has what is said wait until what it returns is called, if standard error
// is a terminal.
func (c *command) holdBack() (release func()) {
	c.said.mu.Lock()
	defer c.said.mu.Unlock()
	c.said.held = cli.IsTerminal(c.stderr)
	return func() {
		c.said.mu.Lock()
		defer c.said.mu.Unlock()
		c.said.held = false
		for _, line := range c.said.lines {
			fmt.Fprintln(c.stderr, "agentproxy: "+line)
		}
		c.said.lines = nil
	}
}

// warnOnce says a line that was not said before with this state directory.
func (c *command) warnOnce(stateDir, line string) {
	path := filepath.Join(stateDir, "told")
	sum := sha256.Sum256([]byte(line))
	key := hex.EncodeToString(sum[:8])
	told, _ := cli.ReadFile(path)
	if slices.Contains(strings.Fields(string(told)), key) {
		return
	}
	c.warn(line)
	// If it cannot be noted, it is said again.
	_ = os.MkdirAll(stateDir, 0o700)
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		_, _ = f.WriteString(key + "\n")
		_ = f.Close()
	}
}
