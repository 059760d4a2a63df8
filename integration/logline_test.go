//go:build linux

package integration

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestLogOnTerminal reads the log as people do, with and without colours.
func TestLogOnTerminal(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		term, noColor string
		coloured      bool
	}{
		"colours":     {"xterm-256color", "", true},
		"NO_COLOR":    {"xterm-256color", "1", false},
		"dumb":        {"dumb", "", false},
		"no terminal": {"", "", false}, // by log.format: console
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureConfig{scope: defaultScope})
			format := "auto"
			if test.term == "" {
				format = "console"
			}
			writeFile(t, f.config, []byte(strings.Replace(readFile(t, f.config), "log: {level: debug, format: json}", "log: {format: "+format+"}", 1)))
			env := slices.DeleteFunc(baseEnv(t), func(entry string) bool { return strings.HasPrefix(entry, "TERM=") })
			cmd := exec.Command(agentproxy, "serve", "--config", f.config)
			cmd.Env = append(env, "TERM="+test.term, "NO_COLOR="+test.noColor, "TZ=UTC")
			var p *proxy
			var text func() string
			if test.term == "" {
				p = f.startCommand(t, cmd)
				text = p.log.String
			} else {
				shown := startInTerminal(t, 200, 50, cmd)
				text = shown.text
				where := regexp.MustCompile(`(?m)^agentproxy: listening on (\S+), signing as .*, CA (.+?)\r$`)
				eventually(t, "the proxy to listen", func() bool { return where.MatchString(text()) })
				m := where.FindStringSubmatch(text())
				p = &proxy{fixture: f, addr: m[1], ca: m[2]}
				defer func() {
					if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
						t.Error(err)
					}
					if err := shown.wait(); err != nil {
						t.Error(err)
					}
				}()
			}
			p.env = p.clientEnv(t)
			const label = "run"
			for path, status := range map[string]int{"/codex/models?client_version=1&secret=" + clientsMark: http.StatusOK, "/conversations?secret=" + clientsMark: http.StatusForbidden} {
				response, err := p.client(t, label).Get(backendAPI + path)
				if err != nil || response.StatusCode != status {
					t.Fatalf("%s: %v, %v", path, response, err)
				}
				_, err = io.Copy(io.Discard, response.Body) // or the client would have cut it
				if response.Body.Close(); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
			}
			f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
			plain := regexp.MustCompile(`\x1b\[[0-9]+m`)
			for _, want := range []string{
				`(?m)^\d\d:\d\d:\d\d GET chatgpt\.com/backend-api/codex/models 200 [0-9.]+ m?s assertion run\r?$`,
				`(?m)^\d\d:\d\d:\d\d WRN GET chatgpt\.com/backend-api/conversations 403 [0-9.]+ m?s run out_of_scope: .*scope.*\r?$`,
			} {
				line := regexp.MustCompile(want)
				eventually(t, fmt.Sprintf("a line like %s", want), func() bool { return line.MatchString(plain.ReplaceAllString(text(), "")) })
			}
			if coloured := plain.MatchString(text()); coloured != test.coloured {
				t.Errorf("coloured: %v", coloured)
			}
			if strings.Contains(text(), clientsMark) || strings.ContainsFunc(plain.ReplaceAllString(text(), ""), func(r rune) bool {
				return r != '\r' && r != '\n' && !unicode.IsPrint(r)
			}) {
				t.Error("the terminal got what a client chose")
			}
			if t.Failed() {
				t.Logf("%q", text())
			}
		})
	}
}
