package completion

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// behindRun has, for each shell, what to replace in cobra's script, and by what. What stands
// behind "run --" is completed as if it stood alone.
var behindRun = map[string][2]string{
	"bash": {"-F __start_agentproxy agentproxy", "-F __agentproxy_complete agentproxy"},
	"zsh": {"\n_agentproxy()\n{\n", `
_agentproxy()
{
    local behind=${words[(i)--]}
    if [[ ${words[2]} == run ]] && (( behind < CURRENT )); then
        words=("${(@)words[behind+1,-1]}")
        (( CURRENT -= behind ))
        _normal
        return
    fi
    __agentproxy_itself "$@"
}

__agentproxy_itself()
{
`},
	"fish": {"-n 'not __agentproxy_requires_order_preservation && ", "-n 'not __agentproxy_behind_run && not __agentproxy_requires_order_preservation && "},
}

// before and after are what the scripts have besides.
var before = map[string]string{
	"bash": `
__agentproxy_complete()
{
    local i
    if [[ ${COMP_WORDS[1]} == run ]] && declare -F _command_offset >/dev/null; then
        for ((i = 2; i < COMP_CWORD; i++)); do
            if [[ ${COMP_WORDS[i]} == -- ]]; then
                _command_offset $((i + 1))
                return
            fi
        done
    fi
    __start_agentproxy "$@"
}

if [[ $(type -t compopt)`,
}

var after = map[string]string{
	"fish": `
function __agentproxy_behind_run
    set -l words (commandline -opc)
    test "$words[2]" = run; and contains -- -- $words
end

function __agentproxy_complete_command
    set -l words (commandline -opc) (commandline -ct)
    set -l behind (math (contains -i -- -- $words) + 1)
    complete --do-complete (string join ' ' -- (string escape -- $words[$behind..-2]) "$words[-1]")
end

complete -c agentproxy -n __agentproxy_behind_run -f -a '(__agentproxy_complete_command)'
`,
}

// Script returns the completion script for a shell: bash, fish, powershell or zsh. describe
// is whether it shows descriptions.
func Script(root *cobra.Command, shell string, describe bool) (string, error) {
	var out bytes.Buffer
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(&out, describe)
	case "fish":
		err = root.GenFishCompletion(&out, describe)
	case "powershell":
		if err = root.GenPowerShellCompletionWithDesc(&out); !describe {
			out.Reset()
			err = root.GenPowerShellCompletion(&out)
		}
	case "zsh":
		if err = root.GenZshCompletion(&out); !describe {
			out.Reset()
			err = root.GenZshCompletionNoDesc(&out)
		}
	default:
		return "", fmt.Errorf("there is no completion for %s", shell)
	}
	script := out.String()
	if change, ok := behindRun[shell]; ok {
		script = strings.ReplaceAll(script, change[0], change[1])
	}
	if text, ok := before[shell]; ok {
		script = strings.Replace(script, "\nif [[ $(type -t compopt)", text, 1)
	}
	return script + after[shell], err
}
