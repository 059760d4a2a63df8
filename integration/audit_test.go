//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// auditLines reads an audit log, every line of which must be a JSON object.
func auditLines(t *testing.T, path string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(readFile(t, path)) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%v: %q", err, line)
		}
		lines = append(lines, fields)
	}
	return lines
}

// auditedFixture is a fixture with an audit log beside its configuration.
func auditedFixture(t *testing.T, c fixtureConfig) (f *fixture, path string) {
	t.Helper()
	f = newFixture(t, c)
	path = filepath.Join(filepath.Dir(f.config), "audit.log")
	writeFile(t, f.config, fmt.Appendf([]byte(readFile(t, f.config)), "audit: {file: %q, fsync: true}\n", path))
	return f, path
}

// TestAuditLog has each decision leave a line, with the task that a request was
// signed for, which is the one that the backend has seen.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	f, path := auditedFixture(t, fixtureConfig{yaml: "signer: {rules: [{path: /public/**, use: none}]}"})
	p := f.serve(t)
	mustAsk(t, p.client(t, "build-42"), http.StatusOK)
	requests := f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	for _, url := range []string{"https://chatgpt.com/public/x?secret=1", "https://other.example/", "http://chatgpt.com/y"} {
		if response, err := p.client(t, "").Get(url); err == nil {
			response.Body.Close()
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	var got []string
	for _, line := range auditLines(t, path) {
		got = append(got, fmt.Sprintln(line["decision"], line["client"], line["host"], line["method"], line["path"],
			line["credential"], line["task"], line["signer"], line["refused"]))
		if peer, _ := line["peer"].(string); !strings.HasPrefix(peer, "127.0.0.1:") || len(line["time"].(string)) != len("2026-04-15T10:00:00.123Z") {
			t.Errorf("%v", line)
		}
	}
	want := []string{
		"sign build-42 chatgpt.com:443 POST /backend-api/test/upload AgentAssertion " + requests[0].Auth.TaskID + " agent-assertion <nil>\n",
		"pass <nil> chatgpt.com:443 GET /public/x none <nil> none <nil>\n",
		"refuse <nil> other.example:443 CONNECT <nil> <nil> <nil> <nil> host_refused\n",
		"refuse <nil> chatgpt.com:80 GET /y <nil> <nil> <nil> plain_http_refused\n",
	}
	if strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("the audit log says\n%swant\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
}

// TestAuditRotation: after the file was moved away, SIGHUP makes another, and no
// line is lost or written twice.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	f, path := auditedFixture(t, fixtureConfig{})
	p := f.serve(t)
	client := p.client(t, "")
	const rotations = 5
	for i := range rotations {
		mustAsk(t, client, http.StatusOK)
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
			t.Fatal(err)
		}
		mustAsk(t, client, http.StatusOK)
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		// The file is there a moment before it is written to.
		eventually(t, "another audit log", func() bool { return strings.Count(p.log.String(), "SIGHUP: renewed") > i })
	}
	total := len(auditLines(t, path))
	for i := range rotations {
		n := len(auditLines(t, fmt.Sprintf("%s.%d", path, i)))
		if n == 0 {
			t.Errorf("file %d is empty", i)
		}
		total += n
	}
	if total != 2*rotations {
		t.Errorf("%d lines in all, want %d", total, 2*rotations)
	}
}

// TestHangupWithoutAudit: SIGHUP ends no proxy.
func TestHangupWithoutAudit(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	for range 3 {
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		mustAsk(t, p.client(t, ""), http.StatusOK)
	}
}

// TestAuditOnFullDisk: what cannot be recorded is refused and not sent, or sent
// all the same, as configured. The state says so.
func TestAuditOnFullDisk(t *testing.T) {
	t.Parallel()
	for policy, test := range map[string]struct{ asked, ready int }{
		"refuse": {http.StatusServiceUnavailable, http.StatusServiceUnavailable}, "continue": {http.StatusOK, http.StatusOK},
	} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureConfig{yaml: "audit: {file: /dev/full, on_failure: " + policy + "}"})
			admin := f.adminOn(t)
			p := f.serve(t)
			r := curl(t, p.env, backendAPI+"/test/echo")
			if r.Code != test.asked {
				t.Errorf("status %d, want %d\n%s", r.Code, test.asked, r.body)
			}
			if policy == "refuse" {
				checkRefusal(t, r.body, "audit_failed")
				f.checkNothingArrived(t)
			}
			if r := curl(t, baseEnv(t), "http://"+admin+"/readyz"); r.Code != test.ready || strings.Contains(r.body, "audit_failed") != (policy == "refuse") {
				t.Errorf("/readyz: status %d, want %d\n%s", r.Code, test.ready, r.body)
			}
		})
	}
}

// TestAuditCannotBeOpened: no proxy without the audit log that it is to have.
func TestAuditCannotBeOpened(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "audit: {file: /no/such/directory/audit.log}"})
	for _, args := range [][]string{{"serve", "--config", f.config}, f.runArgs("true")} {
		r := run(t, baseEnv(t), agentproxy, args...)
		const want = "agentproxy: open the audit log /no/such/directory/audit.log: no such file or directory; set audit.file to a file that can be appended to\n"
		if r.code != 1 || r.stderr != want {
			t.Errorf("%s: exit code %d\n%swant\n%s", args[0], r.code, r.stderr, want)
		}
	}
}

// TestAuditOfRun: a private proxy keeps the same log.
func TestAuditOfRun(t *testing.T) {
	t.Parallel()
	f, path := auditedFixture(t, fixtureConfig{})
	script := systemProgram(t, "curl") + " -sS -o /dev/null " + backendAPI + "/test/echo"
	mustRun(t, baseEnv(t), agentproxy, f.runArgs("sh", "-c", script)...)
	if lines := auditLines(t, path); len(lines) != 1 || lines[0]["decision"] != "sign" || lines[0]["client"] != "run" {
		t.Errorf("%v", lines)
	}
}
