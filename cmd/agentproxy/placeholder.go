package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/identityfile"
)

func newIdentityPlaceholderCommand(c *command) *cobra.Command {
	var client, output string
	cmd := &cobra.Command{
		Use:   "placeholder",
		Short: "Write an auth.json without a secret",
		Long: `Write an auth.json with the account's IDs, a distant expiry and no secret. Codex
starts with it, in a container or elsewhere, and the proxy signs its requests.

--for pi and --for opencode write what those keep in ~/.pi/agent/auth.json and in
~/.local/share/opencode/auth.json. If --output names a file of theirs with
log-ins at other providers, those stay.`,
		Example: `  agentproxy identity placeholder --output /agent/.codex/auth.json
  agentproxy identity placeholder --for pi --output /agent/.pi/agent/auth.json`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			account, err := a.PlaceholderAccount(ctx)
			if err != nil {
				return err
			}
			return identityfile.WritePlaceholder(client, output, c.stdout, account, a.Now())
		}),
	}
	c.agentFlags(cmd)
	cmd.Flags().StringVar(&client, "for", "codex", "`client` that is to find it: codex, pi or opencode")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` instead of standard output")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(identityfile.PlaceholderClients(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
