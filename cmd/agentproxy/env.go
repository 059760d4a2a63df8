package main

import (
	"fmt"
	"path/filepath"

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
		Long: `Print the variables that point a program at the proxy of agentproxy serve with the
same configuration, and that make it trust the proxy's CA.`,
		Example: `  eval "$(agentproxy env)"
  agentproxy env --shell fish | source
  agentproxy env --shell powershell | Out-String | Invoke-Expression`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, ok := clientenv.Shells[shell]
			if !ok {
				return cli.Usagef("--shell %s: it is none of sh, fish, powershell", shell)
			}
			messages := &cli.Messages{Out: c.stderr}
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
				Address: a.Config.Clients.Listen, Label: label, Token: token, Warn: messages.Warn,
			})
			if err != nil {
				return err
			}
			for _, b := range clientenv.Bypasses(a.Config) {
				messages.Warn(b.String())
			}
			for _, v := range e.Variables() {
				fmt.Fprintln(c.stdout, format(v))
			}
			return nil
		},
	}
	c.configFlag(cmd)
	cmd.Flags().StringVar(&shell, "shell", "sh", "`syntax` to print: sh, fish or powershell")
	cmd.Flags().StringVar(&label, "label", "agentproxy", "session `label` in the proxy's URL, if that has a token")
	_ = cmd.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions([]string{"sh", "fish", "powershell"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
