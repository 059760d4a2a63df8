package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync"
)

// notes holds back what is logged while a command works: if the command fails,
// its error may say the same, and one line is enough.
type notes struct {
	mu     sync.Mutex
	out    io.Writer
	events [][]byte
}

// Write implements [io.Writer] for a log. p is an event in JSON.
func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, bytes.Clone(p))
	return len(p), nil
}

// flush writes what was logged, but for what err says too.
func (n *notes) flush(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, event := range n.events {
		var said struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(event, &said)
		if err == nil || said.Error == "" || !strings.Contains(err.Error(), said.Error) {
			_, _ = n.out.Write(event)
		}
	}
	n.events = nil
}
