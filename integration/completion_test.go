//go:build linux

package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCompletion has bash and fish complete, and zsh read what it is given.
func TestCompletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	environ := append(baseEnv(t), "LC_ALL=C.UTF-8")
	environ[0] = "PATH=" + filepath.Dir(agentproxy) + ":" + systemPath
	write := func(shell string) string {
		path := filepath.Join(dir, shell)
		writeFile(t, path, []byte(mustRun(t, environ, agentproxy, "completion", shell)))
		return path
	}
	bash, fish, zsh := write("bash"), write("fish"), write("zsh")
	mustRun(t, environ, systemProgram(t, "zsh"), "-f", "-n", zsh)

	for line, want := range map[string][]string{
		"agentproxy env --shell ":         {"bash", "cmd", "fish", "powershell", "sh", "zsh"},
		"agentproxy ca install --store b": {"browsers"},
		"agentproxy completion ":          {"bash", "fish", "powershell", "zsh"},
		"agentproxy env --label ":         nil, // whatever one likes, but no file
		"agentproxy serve ":               nil,
		"agentproxy explain out_":         {"out_of_scope"},
		"agentproxy run -- mando":         {"mandoc"}, // a program
		// What the shell knows of a program, behind which it stands.
		"agentproxy run -- agentproxy completion ":                    {"bash", "fish", "powershell", "zsh"},
		"agentproxy run --isolate net -- agentproxy ca install --sto": {"--store"},
	} {
		// In a directory with files that are not to be offered.
		inBash := command(t, environ, systemProgram(t, "bash"), "--norc", "-c", `
. /usr/share/bash-completion/bash_completion
. "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=63 COMP_KEY=9
read -ra COMP_WORDS <<<"$2"
[[ $2 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
__agentproxy_complete agentproxy "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"`, "bash", bash, line)
		inFish := command(t, environ, systemProgram(t, "fish"), "--no-config", "-c", `source $argv[1]; complete --do-complete $argv[2]`, fish, line)
		inBash.Dir, inFish.Dir = dir, dir
		for name, out := range map[string]string{"bash": runCommand(t, inBash).stdout, "fish": runCommand(t, inFish).stdout} {
			var got []string
			for offer := range strings.Lines(out) {
				if word := strings.Fields(offer); len(word) > 0 {
					got = append(got, word[0])
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("%s: %q: %q, want %q", name, line, got, want)
			}
		}
	}
	// zsh completes what it is told to as if it stood alone.
	for line, want := range map[string]string{"agentproxy run --isolate net -- git che": "2: git che", "agentproxy run -- gi": "1: gi"} {
		out := mustRun(t, environ, systemProgram(t, "zsh"), "-f", "-c", `compdef() {}; source $1; _normal() { print -r -- "$CURRENT: $words" }; words=(${=2}); CURRENT=$#words; _agentproxy`, "zsh", zsh, line)
		if out != want+"\n" {
			t.Errorf("zsh: %q: %q, want %q", line, out, want)
		}
	}
	// PowerShell is not asked here. It has what the program prints for it.
	for typed, want := range map[string]string{"mando": "mandoc\n:4\n", "./": ":0\n"} {
		if out := mustRun(t, environ, agentproxy, "__complete", "run", "--", typed); out != want {
			t.Errorf("run -- %s: %q, want %q", typed, out, want)
		}
	}
	if out := mustRun(t, environ, agentproxy, "__complete", "run", "--isolate", "net", "--", "git", ""); !strings.HasPrefix(out, ":0\n") {
		t.Errorf("behind a program: %q", out)
	}
	// Where a file is meant.
	out := mustRun(t, environ, agentproxy, "__complete", "identity", "import", "")
	if !strings.HasPrefix(out, ":0\n") {
		t.Errorf("identity import: %q", out)
	}
	out = mustRun(t, environ, agentproxy, "__complete", "serve", "--config", "")
	if out != "yaml\nyml\n:8\n" {
		t.Errorf("--config: %q", out)
	}
}
