package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

func newLoginCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log agentproxy in, with a log-in of its own that Codex does not share",
		Long: `Log in to ChatGPT by a code that you enter in a browser, on this machine or on
another. The log-in is kept in state_dir, or in the keyring with identity.store:
keyring; Codex's own is neither read nor changed. agentproxy uses this log-in from
then on, unless identity.codex_home is set. No terminal is needed. A log-in of
agentproxy login that is there already is replaced, and revoked.`,
		Example: `  agentproxy login
  docker run --rm -v state:/var/lib/agentproxy agentproxy:latest login`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error { return c.login(ctx, a) }),
	}
	c.agentFlags(cmd)
	return cmd
}

func newLogoutCommand(c *command) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Revoke the log-in of agentproxy login, and remove it",
		Long: `Revoke the log-in of agentproxy login, so that its tokens cannot be renewed by
anybody, and remove it. Codex's own log-in stays. A log-in that cannot be revoked
stays too, unless --force is given.`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error { return c.logout(ctx, a, force) }),
	}
	c.agentFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "remove the log-in even if it cannot be revoked")
	return cmd
}

func (c *command) login(ctx context.Context, a *app.App) error {
	if err := a.Config.Agent.Identity.CheckOwnLogin(); err != nil {
		return err
	}
	own := a.OpenOwnLogin()
	defer own.Close()
	if auth, err := own.Home.Load(ctx); err == nil {
		if account, err := auth.Account(""); err == nil {
			fmt.Fprintf(c.stderr, "agentproxy: workspace %s is logged in already; it is replaced once you have entered the code\n", account.WorkspaceID)
		}
	}
	interrupted := errors.New("interrupted before the code was entered; nothing has changed")
	code, err := own.Backend.DeviceCode(ctx)
	if ctx.Err() != nil && err != nil {
		return interrupted
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "agentproxy: open %s in a browser and enter the code %s\n", code.URL, code.UserCode)
	fmt.Fprintf(c.stderr, "agentproxy: waiting %d minutes for that; never enter a code that somebody has sent you\n", int(code.Life.Minutes()))
	tokens, err := own.Backend.DeviceLogin(ctx, code)
	if ctx.Err() != nil && err != nil {
		return interrupted
	}
	if err != nil {
		return err
	}
	// From here on there is a log-in that must be kept or revoked.
	ctx = context.WithoutCancel(ctx)
	claims, err := identity.ParseClaims(tokens.IDToken.Reveal())
	if err == nil && a.Config.Agent.Identity.WorkspaceID != "" && claims.WorkspaceID != a.Config.Agent.Identity.WorkspaceID {
		err = fmt.Errorf("you have logged in to workspace %s, and identity.workspace_id is %s; choose that one in the browser", claims.WorkspaceID, a.Config.Agent.Identity.WorkspaceID)
	}
	if err == nil {
		err = own.Agent.LogIn(ctx, tokens, a.Config.Agent.Identity.Store == config.StoreKeyring)
	}
	if err != nil {
		return errors.Join(err, own.Backend.Revoke(ctx, tokens.RefreshToken))
	}
	c.row("Workspace", claims.WorkspaceID)
	c.row("User", claims.UserID)
	c.row("Email", claims.Email)
	c.row("Plan", claims.PlanType)
	if a.Config.Agent.Identity.AccessToken != "" {
		fmt.Fprintf(c.stderr, "agentproxy: %s is set here, and counts before this log-in\n", config.AccessTokenVariable)
	}
	return nil
}

func (c *command) logout(ctx context.Context, a *app.App, force bool) error {
	own := a.OpenOwnLogin()
	defer own.Close()
	err := own.Agent.LogOut(context.WithoutCancel(ctx), force)
	if errors.Is(err, identity.ErrNoLogin) {
		return fmt.Errorf("there is no log-in of agentproxy login in %s; one of Codex ends with codex logout", filepath.Dir(own.Home.Path()))
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stderr, "agentproxy: logged out")
	if record, err := own.Store.Load(); err == nil {
		fmt.Fprintf(c.stderr, "agentproxy: the agent identity %s still signs; agentproxy identity remove deletes it\n", record.AgentRuntimeID)
	}
	if a.Config.Agent.Identity.CheckOwnLogin() == nil && !a.Config.Agent.Identity.OwnLogin.Only {
		if _, err := codex.OpenHome(a.Config.Agent.Identity.CodexHome).WithKeyring().Load(ctx); err == nil {
			fmt.Fprintf(c.stderr, "agentproxy: the log-in in %s is used from now on; set identity.login: own if it is not to be\n", a.Config.Agent.Identity.CodexHome)
		}
	}
	return nil
}
