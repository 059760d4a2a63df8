package main

import (
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/doctor"
)

// Whatever goes wrong is said on one line.
func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	code := run([]string{"serve", "--config", "two\nlines.yaml"}, configtest.Environment(nil), strings.NewReader(""), &stdout, &stderr)
	const want = "agentproxy: two; lines.yaml: no such file or directory; name an existing file with --config, or none for the defaults\n"
	if code != cli.ExitUsage || stderr.String() != want {
		t.Errorf("exit code %d, %q, want %q", code, stderr.String(), want)
	}
}

// TestErrorsArePrintable has words of others in an error.
func TestErrorsArePrintable(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	run([]string{"serve", "--config", "a\x1b[2J\u009b2J\u202eb"}, configtest.Environment(nil), strings.NewReader(""), &stdout, &stderr)
	if !strings.HasPrefix(stderr.String(), "agentproxy: a?[2J?2J?b: ") {
		t.Errorf("%q", stderr.String())
	}
	stdout.Reset()
	report := doctor.Report{Findings: []doctor.Finding{{Status: doctor.Failed, Check: "backend", Message: "it said \x1b]0;\u202e", Remedy: "try\u0085again"}}}
	if err := report.Render(&stdout, doctor.Plain); err != nil {
		t.Fatal(err)
	}
	if want := "failed   backend         it said ?]0;?; try?again\n"; stdout.String() != want {
		t.Errorf("%q, want %q", stdout.String(), want)
	}
}
