package clientenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// oddValues are what a directory or a label may hold that means something to a
// shell.
var oddValues = []string{
	"plain", "", " two  spaces ", "it's", `a "quoted" one`, "$HOME $(id) `id` ${x}", `back\slash\`, `\'`, "''", "new\nline\n", "tab\t",
	"semi;colon & bar | > < * ? [a] {b,c} ~ # !x %PATH%", "-n", "O’Brien ‘‚‛", "smörgåsbord 漢字",
}

// TestShells has the shells themselves read what env prints for them.
func TestShells(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		syntax  string
		command []string
	}{
		{"sh", []string{"sh", "-c", `. "$1"; exec env -0`, "sh"}},
		{"sh", []string{"sh", "-c", `eval "$(cat "$1")"; exec env -0`, "sh"}},
		{"sh", []string{"bash", "-c", `. "$1"; exec env -0`, "bash"}},
		{"sh", []string{"zsh", "-f", "-c", `. "$1"; exec env -0`, "zsh"}},
		{"fish", []string{"fish", "--no-config", "-c", "source $argv[1]; exec env -0"}},
	} {
		for _, value := range oddValues {
			script := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(script, []byte(Shells[test.syntax](Variable{Name: "ODD", Value: value})+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(test.command[0], append(test.command[1:], script)...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %q: %v", test.command[0], value, err)
			}
			if !strings.Contains("\x00"+string(out), "\x00ODD="+value+"\x00") {
				t.Errorf("%s: %q was understood as %q", test.command[0], value, out)
			}
		}
	}
}

// TestPowerShell reads what env prints for PowerShell by the rule of its manual
// (about_Quoting_Rules) and of its tokenizer: between single quotes, which it also
// takes typographic ones for, two of them are one, and nothing else is special.
func TestPowerShell(t *testing.T) {
	t.Parallel()
	for _, value := range oddValues {
		line := Shells["powershell"](Variable{Name: "ODD", Value: value})
		rest, ok := strings.CutPrefix(line, "$env:ODD = '")
		if !ok {
			t.Fatalf("%q", line)
		}
		var got strings.Builder
		runes := []rune(rest)
		for len(runes) > 0 {
			if strings.ContainsRune("'‘’‚‛", runes[0]) {
				runes = runes[1:]
				if len(runes) == 0 || !strings.ContainsRune("'‘’‚‛", runes[0]) {
					break // the string ends
				}
			}
			got.WriteRune(runes[0])
			runes = runes[1:]
		}
		if got.String() != value || len(runes) > 0 {
			t.Errorf("%q was understood as %q, and then %q", value, got.String(), string(runes))
		}
	}
}
