package clientenv

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
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
		var lines, want []string
		for i, value := range oddValues {
			name := fmt.Sprintf("ODD_%d", i)
			lines = append(lines, shellOf(t, test.syntax).Set(Variable{Name: name, Value: value})+"\n")
			want = append(want, name+"="+value)
		}
		script := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(script, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(test.command[0], append(test.command[1:], script)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", test.command[0], err, out)
		}
		for i, variable := range want {
			if !strings.Contains("\x00"+string(out), "\x00"+variable+"\x00") {
				t.Errorf("%s: %q was understood otherwise, from %q, in %q", test.command[0], variable, lines[i], out)
			}
		}
	}
}

func shellOf(t *testing.T, name string) Shell {
	t.Helper()
	shell, ok := FindShell(name)
	if !ok {
		t.Fatalf("%s is no shell", name)
	}
	return shell
}

// TestUnset has the shells take away what they were given.
func TestUnset(t *testing.T) {
	t.Parallel()
	for name, command := range map[string][]string{
		"sh": {"sh", "-c", `. "$1"; exec env`, "sh"}, "bash": {"bash", "-c", `. "$1"; exec env`, "bash"},
		"zsh": {"zsh", "-f", "-c", `. "$1"; exec env`, "zsh"}, "fish": {"fish", "--no-config", "-c", "source $argv[1]; exec env"},
	} {
		shell := shellOf(t, name)
		script := filepath.Join(t.TempDir(), "script")
		// Twice, for what is not there is no mistake.
		lines := []string{shell.Set(Variable{"ODD", "x"}), shell.Unset("ODD"), shell.Unset("ODD"), shell.Unset("INHERITED"), shell.Set(Variable{"EVEN", "y"}), ""}
		if err := os.WriteFile(script, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command[0], append(command[1:], script)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "INHERITED=z"}
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "ODD") || strings.Contains(string(out), "INHERITED") || !strings.Contains(string(out), "EVEN=y\n") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

// TestDetectShell has parents that are shells and some that are not.
func TestDetectShell(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ parent, variable, want string }{
		{"bash", "/usr/bin/fish", "bash"},
		{"fish", "/bin/bash", "fish"},
		{"zsh", "", "zsh"},
		{"-zsh", "", "zsh"},
		{"/opt/homebrew/bin/fish", "/bin/zsh", "fish"},
		{"pwsh", "/bin/bash", "pwsh"},
		{"PowerShell.EXE", "", "powershell"},
		{"cmd.exe", "", "cmd"},
		{"make", "/usr/bin/fish", "fish"},
		{"python3", "", "sh"},
		{"", "", "sh"},
		{"", "/bin/unheard-of", "sh"},
		{"tcsh", "/bin/bash", "tcsh"}, // whose syntax is not known
		{"make", "/usr/bin/nu", "nu"},
	} {
		env := cli.Environment{Lookup: func(name string) (string, bool) { return test.variable, name == "SHELL" }}
		if got := detectShell(test.parent, env); got != test.want && !(runtime.GOOS == "windows" && test.want == "sh") {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestCmd reads what env prints for cmd by the rule of its manual (help set): between the
// quotes, all but control characters and quotes is text.
func TestCmd(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		`C:\Users\me & you\ca.pem`: `set "ODD=C:\Users\me & you\ca.pem"`, "100%": `set "ODD=100%"`, "a\nb\"c": `set "ODD=abc"`, "": `set "ODD="`,
	} {
		if got := shellOf(t, "cmd").Set(Variable{"ODD", value}); got != want {
			t.Errorf("%q: %s", value, got)
		}
	}
	if got := shellOf(t, "cmd").Unset("ODD"); got != `set "ODD="` {
		t.Error(got)
	}
	if got := shellOf(t, "powershell").Unset("ODD"); got != "Remove-Item Env:ODD -ErrorAction SilentlyContinue" {
		t.Error(got)
	}
}

// TestDotenv has sh read the file, and JSON's own reader the object.
func TestDotenv(t *testing.T) {
	t.Parallel()
	var vars []Variable
	for i, value := range oddValues {
		vars = append(vars, Variable{fmt.Sprintf("ODD_%d", i), value})
	}
	vars = append(vars, Variable{"BOTH", "it's $HOME `id` \"x\" \\"})
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, []byte(Dotenv(vars)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `set -a; . "$1"; exec env -0`, "sh", path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := JSON(vars)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]string
	if err := json.Unmarshal([]byte(text), &object); err != nil || len(object) != len(vars) {
		t.Errorf("%v in %s", err, text)
	}
	for _, v := range vars {
		if !strings.Contains("\x00"+string(out), "\x00"+v.Name+"="+v.Value+"\x00") {
			t.Errorf("sh does not read %q in\n%s", v.Value, Dotenv([]Variable{v}))
		}
		if object[v.Name] != v.Value {
			t.Errorf("JSON has %q, want %q", object[v.Name], v.Value)
		}
	}
	// What is usual needs no quotes, which docker --env-file would take for a part of it.
	if got := Dotenv([]Variable{{"HTTPS_PROXY", "http://a:b%2F@127.0.0.1:8080"}, {"NO_PROXY", "localhost,127.0.0.1,::1"}}); strings.ContainsAny(got, "'\"") {
		t.Error(got)
	}
}

// TestPowerShell reads what env prints for PowerShell by the rule of its manual
// (about_Quoting_Rules) and of its tokenizer: between single quotes, which it also
// takes typographic ones for, two of them are one, and nothing else is special.
func TestPowerShell(t *testing.T) {
	t.Parallel()
	for _, value := range oddValues {
		line := shellOf(t, "powershell").Set(Variable{Name: "ODD", Value: value})
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
