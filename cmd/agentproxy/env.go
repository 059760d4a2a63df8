package main

import (
	"cmp"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
)

func newEnvCommand(c *command) *cobra.Command {
	var o clientenv.PrintOptions
	var label string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the variables that point a program at the proxy",
		Long: `Print the variables that point a program at the proxy of agentproxy serve with the
same configuration, and that make it trust the proxy's CA. They are for the shell
that starts agentproxy, or that SHELL names; scripts should give --shell.`,
		Example: `  eval "$(agentproxy env)"                                  # bash, zsh
  agentproxy env | source                                   # fish
  agentproxy env | Out-String | Invoke-Expression           # PowerShell
  FOR /f "delims=" %i IN ('agentproxy env') DO @%i          # cmd
  eval "$(agentproxy env --unset)"
  agentproxy env --format dotenv > agent.env`,
		RunE: func(*cobra.Command, []string) error {
			return clientenv.Print(c.stdout, o, c.env, func() (clientenv.Env, error) { return c.clientEnv(label) })
		},
	}
	c.configFlag(cmd)
	cmd.Flags().StringVar(&o.Shell, "shell", "", "`syntax` to print: "+strings.Join(clientenv.ShellNames, ", ")+" (default: that of the shell)")
	cmd.Flags().StringVar(&o.Format, "format", "shell", "`format` to print: shell, dotenv or json")
	cmd.Flags().BoolVar(&o.Unset, "unset", false, "print what takes the variables away again")
	cmd.Flags().StringVar(&label, "label", "", "session `label` in the proxy's URL, if that has a token (default "+app.DefaultLabel+")")
	_ = cmd.RegisterFlagCompletionFunc("shell", cobra.FixedCompletions(clientenv.ShellNames, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"shell", "dotenv", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// clientEnv returns the environment of clients with a label, and warns of what is in its way.
func (c *command) clientEnv(label string) (clientenv.Env, error) {
	messages := &cli.Messages{Out: c.stderr}
	a, err := c.load()
	if err != nil {
		return clientenv.Env{}, err
	}
	defer a.Close()
	ca, err := certs.Open(a.CAConfig())
	if err != nil {
		return clientenv.Env{}, err
	}
	token, err := app.TokenFor(a.Clients, label)
	if err != nil {
		return clientenv.Env{}, err
	}
	e, err := clientenv.New(clientenv.Options{
		Config: a.Config, Env: c.env, CA: ca, Dir: clientenv.LastingDir(filepath.Dir(ca.Path())),
		Address: a.Config.Clients.Listen, Label: cmp.Or(label, app.DefaultLabel), Token: token, Warn: messages.Warn,
	})
	if err != nil {
		return e, err
	}
	for _, b := range clientenv.Bypasses(a.Config) {
		messages.Warn(b.String())
	}
	if address, ok := e.Listens(); !ok {
		messages.Warn("nobody listens on " + address + " yet, and programs with these variables reach nothing; run: agentproxy serve")
	}
	return e, nil
}
