package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Messages writes lines that a command has to say besides its result. They can be held
// back while a program that the command runs has the terminal.
type Messages struct {
	Out io.Writer // standard error

	mu    sync.Mutex
	held  bool
	lines []string
}

// Warn writes a line, or holds it back.
func (m *Messages) Warn(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.held {
		fmt.Fprintln(m.Out, "agentproxy: "+line)
	} else if !slices.Contains(m.lines, line) {
		m.lines = append(m.lines, line)
	}
}

// HoldBack holds back what is written until release is called, if Out is a terminal.
func (m *Messages) HoldBack() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = IsTerminal(m.Out)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.held = false
		for _, line := range m.lines {
			fmt.Fprintln(m.Out, "agentproxy: "+line)
		}
		m.lines = nil
	}
}

// WarnOnce is [Messages.Warn] for a line that was not written before with this state
// directory.
func (m *Messages) WarnOnce(stateDir, line string) {
	path := filepath.Join(stateDir, "told")
	sum := sha256.Sum256([]byte(line))
	key := hex.EncodeToString(sum[:8])
	warned, _ := ReadFile(path)
	if slices.Contains(strings.Fields(string(warned)), key) {
		return
	}
	m.Warn(line)
	// If this fails, the line is written again the next time.
	_ = os.MkdirAll(stateDir, 0o700)
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
		_, _ = f.WriteString(key + "\n")
		_ = f.Close()
	}
}
