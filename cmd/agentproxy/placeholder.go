package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
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
		RunE: c.withApp(func(ctx context.Context, a *app) error {
			placeholder, err := a.placeholder(ctx)
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
				return fmt.Errorf("write the placeholder %s: %w; name a file in a directory that can be written", output, cli.Cause(err))
			}
			return nil
		}),
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` in place of standard output")
	return cmd
}

// placeholder returns the auth.json of a client. Where the signer needs no
// log-in it names a made-up account.
func (a *app) placeholder(ctx context.Context) ([]byte, error) {
	account, err := a.agent.Account(ctx)
	if err != nil {
		switch a.config.Signer.Default.Use {
		case useToken, useCommand:
			account = nobody
		default:
			return nil, err
		}
	}
	return identity.Placeholder(account, a.now())
}

// nobody is the account of a client where there is no log-in.
var nobody = identity.Account{WorkspaceID: "agentproxy", UserID: "agentproxy", Email: "agentproxy@localhost", PlanType: "pro"}

// isPlaceholderFile reports whether raw is an auth.json that holds nothing but a
// placeholder.
func isPlaceholderFile(raw []byte) bool {
	auth, err := identity.ParseAuth(raw)
	if err != nil || auth.HasAPIKey || auth.PersonalAccessToken != "" || auth.Record != nil || auth.RecordErr != nil {
		return false
	}
	_, _, err = auth.Bearer("")
	return errors.Is(err, identity.ErrPlaceholder)
}

// refuseToReplaceLogin protects an auth.json that is somebody's log-in, or that
// cannot be understood.
func refuseToReplaceLogin(path string) error {
	raw, err := readFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the placeholder %s: %w; name another file", path, cli.Cause(err))
	}
	if isPlaceholderFile(raw) {
		return nil
	}
	return fmt.Errorf("%s exists and is not a placeholder; it is left as it is: remove it first, or choose another file", path)
}
