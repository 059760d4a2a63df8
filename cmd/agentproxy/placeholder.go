package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/identityfile"
)

func newIdentityPlaceholderCommand(c *command) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "placeholder",
		Short: "Write an auth.json without a secret",
		Long: `Write an auth.json with the account's IDs, a distant expiry and no secret. Codex
starts with it, in a container or elsewhere, and the proxy signs its requests.`,
		Example: `  agentproxy identity placeholder --output /agent/.codex/auth.json`,
		Args:    cobra.NoArgs,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			placeholder, err := a.Placeholder(ctx)
			if err != nil {
				return err
			}
			if output == "" {
				_, err = c.stdout.Write(placeholder)
				return err
			}
			return identityfile.WritePlaceholder(output, placeholder)
		}),
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` instead of standard output")
	return cmd
}
