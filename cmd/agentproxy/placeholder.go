package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
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
			if err := refuseToReplaceLogin(output); err != nil {
				return err
			}
			if err := safefile.Write(output, placeholder, 0o600); err != nil {
				return fmt.Errorf("write the placeholder %s: %w; name a file in a directory that can be written", output, safefile.Cause(err))
			}
			return nil
		}),
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` instead of standard output")
	return cmd
}

// refuseToReplaceLogin returns an error if path is an auth.json with a log-in, or another
// file that is no placeholder.
func refuseToReplaceLogin(path string) error {
	raw, err := cli.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the placeholder %s: %w; name another file", path, safefile.Cause(err))
	}
	if app.IsPlaceholder(raw) {
		return nil
	}
	return fmt.Errorf("%s exists and is not a placeholder; it is left as it is: remove it first, or choose another file", path)
}
