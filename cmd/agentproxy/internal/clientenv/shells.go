package clientenv

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Shell is the syntax of a shell.
type Shell struct {
	Set   func(Variable) string    // returns the line that sets a variable for programs
	Unset func(name string) string // returns the line that takes a variable away
}

var (
	posix = Shell{
		Set: func(v Variable) string {
			return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
		},
		Unset: func(name string) string { return "unset " + name },
	}
	fish = Shell{
		Set: func(v Variable) string {
			return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "'"
		},
		Unset: func(name string) string { return "set -eg " + name },
	}
	powershell = Shell{
		Set: func(v Variable) string {
			// PowerShell reads typographic quotes as plain ones.
			doubled := strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")
			return "$env:" + v.Name + " = '" + doubled.Replace(v.Value) + "'"
		},
		Unset: func(name string) string { return "Remove-Item Env:" + name + " -ErrorAction SilentlyContinue" },
	}
	// FOR /F hands a line to cmd after it has looked for percent signs.
	cmdExe = Shell{
		Set: func(v Variable) string {
			plain := strings.Map(func(r rune) rune {
				if unicode.IsControl(r) || r == '"' { // which no path of Windows has
					return -1
				}
				return r
			}, v.Value)
			return `set "` + v.Name + "=" + plain + `"`
		},
		Unset: func(name string) string { return `set "` + name + `="` },
	}
)

// ShellNames are the names that [FindShell] knows, in the order in which help shows them.
var ShellNames = []string{"bash", "zsh", "sh", "fish", "powershell", "cmd"}

// FindShell returns the syntax of a shell by the name of its program.
func FindShell(name string) (Shell, bool) {
	switch name {
	case "bash", "zsh", "sh", "dash", "ash", "ksh", "mksh", "busybox":
		return posix, true
	case "fish":
		return fish, true
	case "powershell", "pwsh":
		return powershell, true
	case "cmd":
		return cmdExe, true
	}
	return Shell{}, false
}

// otherShells are shells whose syntax is not known. Nothing else that starts this program is
// taken for one.
var otherShells = []string{"csh", "tcsh", "nu", "elvish", "xonsh", "oil", "osh", "rc"}

// detectShell returns the name of the shell that reads what this program prints: the parent
// process if that is one, else the one that SHELL names, else the usual one of the system.
func detectShell(parent string, env cli.Environment) string {
	for _, program := range []string{parent, env.Get("SHELL")} {
		name := strings.TrimSuffix(strings.ToLower(filepath.Base(filepath.ToSlash(program))), ".exe")
		name = strings.TrimPrefix(name, "-") // a log-in shell
		if _, ok := FindShell(name); ok || slices.Contains(otherShells, name) {
			return name
		}
	}
	if runtime.GOOS == "windows" {
		return "powershell"
	}
	return "sh"
}
