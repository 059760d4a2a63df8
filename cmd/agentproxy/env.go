package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
)

func newEnvCommand(c *command) *cobra.Command {
	var shell, label string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the variables that point a program at the proxy",
		Long: `Print the variables that point a program at a proxy that agentproxy serve runs
with the same configuration, and that have it trust the proxy's CA.`,
		Example: `  eval "$(agentproxy env)"
  agentproxy env --shell fish | source
  agentproxy env --shell powershell | Out-String | Invoke-Expression`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, ok := shells[shell]
			if !ok {
				return cli.Usagef("--shell %s: it is none of sh, fish, powershell", shell)
			}
			a, err := c.load()
			if err != nil {
				return err
			}
			defer a.Close()
			ca, err := certs.Open(a.CAConfig())
			if err != nil {
				return err
			}
			token, err := app.TokenFor(a.Clients, label)
			if err != nil {
				return err
			}
			e, err := clientenv.New(clientenv.Options{
				Config: a.Config, Env: c.env, CA: ca, Dir: clientenv.LastingDir(filepath.Dir(ca.Path())),
				Address: a.Config.Clients.Listen, Label: label, Token: token, Warn: c.warn,
			})
			if err != nil {
				return err
			}
			for _, b := range clientenv.Bypasses(a.Config) {
				c.warn(b.String())
			}
			for _, v := range e.Variables() {
				fmt.Fprintln(c.stdout, format(v))
			}
			return nil
		},
	}
	c.configFlag(cmd)
	cmd.Flags().StringVar(&shell, "shell", "sh", "`syntax` to print: sh, fish or powershell")
	cmd.Flags().StringVar(&label, "label", "agentproxy", "session `label` to put into the proxy's URL, where it has a token")
	_ = cmd.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions([]string{"sh", "fish", "powershell"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// shells writes a variable in the syntax of a shell.
var shells = map[string]func(clientenv.Variable) string{
	"sh": func(v clientenv.Variable) string {
		return "export " + v.Name + "='" + strings.ReplaceAll(v.Value, "'", `'\''`) + "'"
	},
	"fish": func(v clientenv.Variable) string {
		return "set -gx " + v.Name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.Value) + "'"
	},
	"powershell": func(v clientenv.Variable) string {
		// PowerShell takes typographic quotes for plain ones.
		doubled := strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")
		return "$env:" + v.Name + " = '" + doubled.Replace(v.Value) + "'"
	},
}
