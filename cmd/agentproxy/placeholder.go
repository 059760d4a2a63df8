package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/agentlogin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
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
		Args: cobra.NoArgs,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			account, err := a.PlaceholderAccount(ctx)
			if err != nil {
				return err
			}
			former, err := formerPlaceholder(output)
			if err != nil {
				return err
			}
			placeholder, err := placeholderFor(client, former, account, a.Now())
			if errors.Is(err, errHoldsLogin) {
				return fmt.Errorf("%s %w", output, err)
			}
			if err != nil {
				return err
			}
			if output == "" {
				_, err = c.stdout.Write(placeholder)
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
	cmd.Flags().StringVar(&client, "for", "codex", "`client` that is to find it: codex, pi or opencode")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this `file` instead of standard output")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"codex", "pi", "opencode"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// formerPlaceholder returns what is in the file that a placeholder is to be written to, nil
// if there is none.
func formerPlaceholder(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := cli.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("write the placeholder %s: %w; name another file", path, safefile.Cause(err))
	}
	return raw, nil
}

var errHoldsLogin = errors.New("exists and is not a placeholder; it is left as it is: remove it first, or choose another file")

// placeholderFor returns the file that a client is to find in place of former, which may hold
// no log-in.
func placeholderFor(client string, former []byte, account identity.Account, now time.Time) ([]byte, error) {
	if client == "codex" {
		if former != nil && !app.IsPlaceholder(former) {
			return nil, errHoldsLogin
		}
		return codex.Placeholder(account, now)
	}
	agent, err := agentlogin.Find(client)
	if err != nil {
		return nil, cli.Usagef("--for: %w", err)
	}
	if holds, err := agent.HoldsLogin(former); holds || err != nil {
		return nil, errHoldsLogin
	}
	return agent.Cover(former, account, now)
}
