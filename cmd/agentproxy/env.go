package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
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
			defer a.close()
			ca, err := certs.Open(a.caConfig())
			if err != nil {
				return err
			}
			token, err := a.config.entrance.tokenFor(label)
			if err != nil {
				return err
			}
			e, err := c.clientEnv(a, ca, lastingDir(filepath.Dir(ca.Path())), a.config.Listen, label, token)
			if err != nil {
				return err
			}
			for _, b := range a.config.bypasses() {
				c.warn(b.String())
			}
			for _, v := range e.variables() {
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

// clientEnv prepares the environment of a client: its bundle goes into dir.
func (c *command) clientEnv(a *app, ca *certs.Authority, dir envDir, address, label, token string) (clientEnv, error) {
	var e clientEnv
	var err error
	if e.proxyURL, err = proxyURL(address, label, token); err != nil {
		return e, err
	}
	users := readUsersCAs(c.env, a.config.Upstream.CAFile)
	for _, problem := range users.problems {
		c.warn(problem)
	}
	if e.ca, err = writeExtra(dir, ca, users.extra); err != nil {
		return e, err
	}
	var dropped []string
	e.noProxy, dropped = noProxy(c.env, a.config.intercept)
	if len(dropped) > 0 {
		c.warn("left out of NO_PROXY, for it would lead requests past the proxy: " + strings.Join(dropped, ","))
	}
	e.bundle, err = writeBundle(dir, ca, users.env, users.bundles...)
	return e, err
}

// shells writes a variable in the syntax of a shell.
var shells = map[string]func(variable) string{
	"sh": func(v variable) string {
		return "export " + v.name + "='" + strings.ReplaceAll(v.value, "'", `'\''`) + "'"
	},
	"fish": func(v variable) string {
		return "set -gx " + v.name + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v.value) + "'"
	},
	"powershell": func(v variable) string {
		// PowerShell takes typographic quotes for plain ones.
		doubled := strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛")
		return "$env:" + v.name + " = '" + doubled.Replace(v.value) + "'"
	},
}
