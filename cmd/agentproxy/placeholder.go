package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

func newIdentityPlaceholderCommand(c *command) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "placeholder",
		Short: "Write the auth.json for an agent that is to hold no secret",
		Long: `Write an auth.json with the account's ids, a far expiry and no secret. Codex
starts with it, in a container or elsewhere; what it sends is signed by the
proxy.`,
		Example: `  agentproxy identity placeholder --output /agent/.codex/auth.json`,
		Args:    cobra.NoArgs,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			placeholder, err := placeholderOf(ctx, a)
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
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` in place of standard output")
	return cmd
}

// placeholderOf returns the auth.json of a client. It names a made-up account where there
// is no log-in and the signer needs none.
func placeholderOf(ctx context.Context, a *app.App) ([]byte, error) {
	account, err := a.Default.Account.Agent.Account(ctx)
	if err != nil {
		if a.Config.Agent.Signer.UsesLogin() {
			return nil, err
		}
		account = nobody
	}
	return codex.Placeholder(account, a.Now())
}

// nobody is the account of a client where there is no log-in.
var nobody = identity.Account{WorkspaceID: "agentproxy", UserID: "agentproxy", Email: "agentproxy@localhost", PlanType: "pro"}

// isPlaceholderFile reports whether raw is an auth.json that holds nothing but a
// placeholder.
func isPlaceholderFile(raw []byte) bool {
	auth, err := codex.ParseAuth(raw)
	if err != nil || auth.HasAPIKey || auth.PersonalAccessToken != "" || auth.Record != nil || auth.RecordErr != nil {
		return false
	}
	_, _, err = auth.Bearer("")
	return errors.Is(err, identity.ErrPlaceholder)
}

// refuseToReplaceLogin protects an auth.json that is somebody's log-in, or that
// cannot be understood.
func refuseToReplaceLogin(path string) error {
	raw, err := cli.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the placeholder %s: %w; name another file", path, safefile.Cause(err))
	}
	if isPlaceholderFile(raw) {
		return nil
	}
	return fmt.Errorf("%s exists and is not a placeholder; it is left as it is: remove it first, or choose another file", path)
}
