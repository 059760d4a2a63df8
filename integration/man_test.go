//go:build linux

package integration

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkManPages has every command have a page in dir, which groff and mandoc
// accept.
func checkManPages(t *testing.T, dir string) {
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, command := range allCommands(t) {
		page := filepath.Join(dir, strings.ReplaceAll(command, " ", "-")+".1")
		if text := readFile(t, page); !strings.Contains(text, "\n.SH SYNOPSIS\n\\fB"+command) {
			t.Errorf("%s has no page that begins with its synopsis: %.200q", command, text)
		}
	}
	if out := run(t, baseEnv(t), systemProgram(t, "mandoc"), append([]string{"-T", "lint", "-W", "warning"}, pages...)...); out.code != 0 || out.stdout != "" {
		t.Errorf("mandoc: exit code %d\n%s%s", out.code, out.stdout, out.stderr)
	}
	for _, page := range pages {
		environ := append(baseEnv(t), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80")
		if out := run(t, environ, systemProgram(t, "man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page); out.code != 0 || out.stderr != "" {
			t.Errorf("man: exit code %d\n%s", out.code, out.stderr)
		}
	}
}

// allCommands returns agentproxy and the commands below it, as its help has them.
func allCommands(t *testing.T) []string {
	t.Helper()
	var commands []string
	var collect func(path ...string)
	collect = func(path ...string) {
		commands = append(commands, strings.Join(append([]string{"agentproxy"}, path...), " "))
		help := mustRun(t, baseEnv(t), agentproxy, append(append([]string{}, path...), "--help")...)
		_, list, _ := strings.Cut(help, "\nUsage:\n")
		list, _, _ = strings.Cut(list, "\nFlags:\n")
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(list, -1) {
			if m[1] != "help" {
				collect(append(append([]string{}, path...), m[1])...)
			}
		}
	}
	collect()
	return commands
}
