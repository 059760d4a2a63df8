//go:build linux

package integration

import (
	"bytes"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestTop has the live view in a terminal renewed while a stream runs, and leaves
// the terminal as it was.
func TestTop(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	p := f.serve(t)
	stream, err := p.client(t, "build-42").Get(backendAPI + "/test/sse?n=2&interval_ms=3600000")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	p.refusedConnect(t, "other.example:443", "") // for which there is no line left
	shown, program := openTerminal(t, 60, 9)
	cmd := command(t, baseEnv(t), agentproxy, "top", "--config", f.config)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	var mu sync.Mutex
	var written bytes.Buffer
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return written.String()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := shown.Read(buffer)
			mu.Lock()
			written.Write(buffer[:n])
			mu.Unlock()
			if err != nil {
				return // the program has ended
			}
		}
	}()
	eventually(t, "the view to be renewed", func() bool { return strings.Count(text(), "\x1b[H") >= 2 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	<-ended
	got := text()
	if !strings.HasPrefix(got, "\x1b[?1049h") || !strings.HasSuffix(got, "\x1b[?1049l") {
		t.Errorf("the terminal is not left as it was: %q", got)
	}
	screens := strings.Split(got, "\x1b[H")
	for _, want := range []string{"agentproxy ", "AgentAssertion", "1 request", "request  build-42  chatgpt.com:443"} {
		if !strings.Contains(screens[1], want) {
			t.Errorf("no %q on the screen: %q", want, screens[1])
		}
	}
	for line := range strings.SplitSeq(screens[1], "\r\n") {
		if width := len(strings.NewReplacer("\x1b[K", "", "\x1b[J", "").Replace(line)); width > 60 {
			t.Errorf("a line of %d columns on a screen of 60: %q", width, line)
		}
	}
	if n := strings.Count(screens[1], "\r\n"); n != 8 {
		t.Errorf("%d lines on a screen of 9", n+1)
	}
}
