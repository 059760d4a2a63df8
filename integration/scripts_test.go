//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// script is a client of testdata: a program that asks for a URL in a way that
// its first argument names, and prints the answer's status and body as JSON.
type script struct {
	program string
	file    string
}

type scriptAnswer struct {
	Status int
	Body   string
}

// ask runs the script, and requires that its one request was signed.
func (s script) ask(t *testing.T, p *proxy, what, url string) scriptAnswer {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", s.file))
	if err != nil {
		t.Fatal(err)
	}
	p.fixture.backend.ResetRequests()
	out := mustRun(t, p.env, s.program, path, what, url)
	var a scriptAnswer
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%s printed %q: %v", s.file, out, err)
	}
	if n := len(p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)); n != 1 {
		t.Errorf("%d requests reached the backend, want 1", n)
	}
	return a
}

// testGet asks for test/echo.
func (s script) testGet(t *testing.T, p *proxy, what string) {
	a := s.ask(t, p, what, backendAPI+"/test/echo?q=1")
	if a.Status != 200 {
		t.Errorf("status %d", a.Status)
	}
	checkEcho(t, a.Body)
}

// testPost sends 1 MiB of the letter a.
func (s script) testPost(t *testing.T, p *proxy) {
	a := s.ask(t, p, "post", backendAPI+"/test/upload")
	if want := uploaded(bytes.Repeat([]byte("a"), 1<<20)); a.Status != 200 || !strings.Contains(a.Body, want) {
		t.Errorf("status %d, the backend says %s, want %s", a.Status, a.Body, want)
	}
}

// testStream reads the beginning of a stream whose second event is an hour away.
func (s script) testStream(t *testing.T, p *proxy) {
	a := s.ask(t, p, "stream", backendAPI+"/test/sse?n=2&interval_ms=3600000")
	if a.Status != 200 || !strings.HasPrefix(a.Body, "id: 0\n") {
		t.Errorf("status %d, the first event is %q", a.Status, a.Body)
	}
}
