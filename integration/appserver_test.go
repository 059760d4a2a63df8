//go:build linux

package integration

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// An appServer is a codex app-server that is spoken to over its standard input and
// output, as editors do.
type appServer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string // what it says; closed at its end
	said   []string
	calls  int
	expiry <-chan time.Time
}

// startAppServer starts the server and introduces itself.
func startAppServer(t *testing.T, u *codexUser) *appServer {
	t.Helper()
	cmd := u.command(t, "app-server")
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
	s := &appServer{in: in, lines: make(chan string, 1000), expiry: time.After(clientTimeout)}
	go func() { // until the command ends, which stop waits for
		defer close(s.lines)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			s.lines <- line
		}
	}()
	s.cmd = cmd
	s.call(t, "initialize", map[string]any{
		"clientInfo":   map[string]any{"name": "test", "title": "Test", "version": "1"},
		"capabilities": map[string]any{"experimentalApi": true},
	}, nil)
	s.write(t, map[string]any{"method": "initialized"})
	return s
}

// stop ends the server, as editors do, and waits for it.
func (s *appServer) stop(t *testing.T) {
	t.Helper()
	if err := s.in.Close(); err != nil {
		t.Errorf("codex app-server: %v", err)
	}
	for line := range s.lines {
		s.said = append(s.said, line)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("codex app-server: %v; it said\n%s", err, strings.Join(s.said, ""))
	}
}

func (s *appServer) write(t *testing.T, message map[string]any) {
	t.Helper()
	raw, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Write(append(raw, '\n')); err != nil {
		t.Fatal(err)
	}
}

// next returns the server's next line.
func (s *appServer) next(t *testing.T, what string) string {
	t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			t.Fatalf("the app server ended before %s; it said\n%s", what, strings.Join(s.said, ""))
		}
		s.said = append(s.said, line)
		return line
	case <-s.expiry:
		t.Fatalf("waited in vain for %s; the app server said\n%s", what, strings.Join(s.said, ""))
	}
	return ""
}

// call makes a call and decodes its result into to, unless that is nil.
func (s *appServer) call(t *testing.T, method string, params, to any) {
	t.Helper()
	s.calls++
	s.write(t, map[string]any{"id": s.calls, "method": method, "params": params})
	for {
		var m struct {
			ID     *int
			Method string
			Result json.RawMessage
			Error  json.RawMessage
		}
		line := s.next(t, "the answer to "+method)
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Method != "" || m.ID == nil || *m.ID != s.calls {
			continue // not the answer
		}
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error)
		}
		if to != nil {
			if err := json.Unmarshal(m.Result, to); err != nil {
				t.Fatalf("%s answered %s: %v", method, m.Result, err)
			}
		}
		return
	}
}

// await waits for a notification and returns all that the server has said so far.
func (s *appServer) await(t *testing.T, method string) string {
	t.Helper()
	for !strings.Contains(s.next(t, method), `"method":"`+method+`"`) {
	}
	return strings.Join(s.said, "")
}
