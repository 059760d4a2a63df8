package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/identity"
)

func newIdentityCommand(c *command) *cobra.Command {
	return group(&cobra.Command{
		Use:   "identity",
		Short: "Register, show, import, export or remove the agent identity",
	}, newIdentityRegisterCommand(c), newIdentityShowCommand(c), newIdentityImportCommand(c),
		newIdentityExportCommand(c), newIdentityRemoveCommand(c), newIdentityPlaceholderCommand(c))
}

func newIdentityShowCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show as whom the proxy signs, without a secret",
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			account, err := a.Default.Account.Agent.Account(ctx)
			if err != nil {
				return err
			}
			c.row("Workspace", account.WorkspaceID)
			c.row("User", account.UserID)
			c.row("Email", account.Email)
			c.row("Plan", account.PlanType)
			if account.FedRAMP {
				c.row("FedRAMP", "yes")
			}
			id, err := a.Default.Account.Agent.Identity(ctx)
			switch {
			case errors.Is(err, identity.ErrTokenLogin):
				c.row("Agent", "none; the log-in is a workspace's access token, which needs none")
			case errors.Is(err, identity.ErrNoIdentity) && a.Config.Agent.Identity.Register:
				c.row("Agent", "none yet; it is registered when it is needed")
			case errors.Is(err, identity.ErrNoIdentity):
				c.row("Agent", "none, and identity.register is off")
			case err != nil:
				c.row("Agent", "not used: "+err.Error())
			default:
				c.showIdentity(id)
				task, _ := a.Default.Account.Agent.Task(ctx, "")
				c.row("Task", task.ID)
			}
			c.showToken(a.Default.Account.Agent.TokenExpiry(ctx))
			return nil
		}),
	}
	c.agentFlags(cmd)
	return cmd
}

// row prints a line with a name and its value, unless the value is empty.
func (c *command) row(name, value string) {
	if value != "" {
		fmt.Fprintf(c.stdout, "%-12s %s\n", name, value)
	}
}

func (c *command) showIdentity(id *identity.Identity) {
	c.row("Agent", id.AgentRuntimeID)
	c.row("Public key", id.Key.PublicKey())
	c.row("Registered", id.RegisteredAt)
	c.row("Protocol", string(id.Protocol))
}

func (c *command) showToken(expiry time.Time, err error) {
	switch {
	case errors.Is(err, identity.ErrNoLogin):
		c.row("Token", "none")
	case err != nil:
		c.row("Token", "not used: "+err.Error())
	case !expiry.IsZero():
		c.row("Token", "expires "+expiry.UTC().Format(time.RFC3339))
	}
}

func newIdentityRegisterCommand(c *command) *cobra.Command {
	var another bool
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Register an agent identity for the log-in",
		Long: `Register an agent identity for the log-in, unless there is one. The private key is
made here and never leaves this machine.`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			id, err := a.Default.Account.Agent.Identity(ctx)
			if err == nil && !another {
				fmt.Fprintln(c.stderr, "agentproxy: there is an identity already; add --another to replace it")
				c.showIdentity(id)
				return nil
			}
			if id, err = a.Default.Account.Agent.Register(ctx); err != nil {
				return err
			}
			c.showIdentity(id)
			c.row("Kept in", a.Default.Account.Store.String())
			return nil
		}),
	}
	c.agentFlags(cmd)
	cmd.Flags().BoolVar(&another, "another", false, "register another identity, and set the present one aside")
	return cmd
}
