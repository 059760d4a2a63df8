package main

import (
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// Whatever goes wrong is said on one line.
func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	code := run([]string{"serve", "--config", "two\nlines.yaml"}, configtest.Environment(nil), strings.NewReader(""), &stdout, &stderr)
	const want = "agentproxy: two; lines.yaml: no such file or directory; name an existing file with --config, or leave it out for the defaults\n"
	if code != cli.ExitUsage || stderr.String() != want {
		t.Errorf("exit code %d, %q, want %q", code, stderr.String(), want)
	}
}
