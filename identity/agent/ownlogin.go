package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// LogIn keeps the tokens of a new log-in in the agent's home, or in the keyring, and
// revokes the log-in that was there. The home must be agentproxy's own, and have a
// keyring ([codex.Home.WithKeyring]) if inKeyring is set. An error of the revocation
// is told to Notify.
func (a *Agent) LogIn(ctx context.Context, tokens identity.TokenSet, inKeyring bool) error {
	former, err := a.replaceLogin(ctx, tokens, inKeyring)
	if err != nil || former == "" {
		return err
	}
	if err := a.config.Backend.Revoke(ctx, former); err != nil {
		a.config.Notify(Event{Message: "the log-in was replaced, and the one before is not revoked", Err: err})
	}
	return nil
}

// replaceLogin returns the refresh token that tokens have taken the place of, "" if it
// is none.
func (a *Agent) replaceLogin(ctx context.Context, tokens identity.TokenSet, inKeyring bool) (former identity.Secret, err error) {
	raw, err := codex.NewLogin(tokens, a.config.Clock.Backend())
	if err != nil {
		return "", err
	}
	home := a.config.Home
	if err := os.MkdirAll(home.Dir(), 0o700); err != nil {
		return "", fmt.Errorf("keep the log-in: %w", err)
	}
	unlock, err := home.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	// What cannot be understood can be revoked by nobody.
	if refresh, err := a.tokens.newestRefresh(ctx); err == nil && refresh != tokens.RefreshToken {
		former = refresh
	}
	if err := home.Put(ctx, raw, inKeyring); err != nil {
		return "", fmt.Errorf("keep the log-in: %w", err)
	}
	return former, nil
}

// LogOut revokes the log-in in the agent's home, which must be agentproxy's own, and
// removes it. A log-in that cannot be revoked stays, unless force is set. The error
// wraps [identity.ErrNoLogin] if there is none.
func (a *Agent) LogOut(ctx context.Context, force bool) error {
	home := a.config.Home
	unlock, err := home.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	refresh, err := a.tokens.newestRefresh(ctx)
	if errors.Is(err, identity.ErrNoLogin) && !home.HoldsLogin() {
		return err
	}
	if err == nil && refresh != "" {
		err = a.config.Backend.Revoke(ctx, refresh)
	}
	if err != nil && !force {
		return fmt.Errorf("the log-in is not revoked and stays: %w; try again, or --force removes it here, and leaves it good elsewhere", err)
	}
	err = os.Remove(a.tokens.path) // which holds tokens too
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = home.Remove(ctx)
	}
	if err != nil {
		return fmt.Errorf("remove the log-in: %w", err)
	}
	return nil
}

// newestRefresh returns the refresh token that is good now: that of the journal where
// the file is behind. The caller holds the lock of the home.
func (t *tokens) newestRefresh(ctx context.Context) (identity.Secret, error) {
	t.loadJournal()
	view, err := t.view(ctx)
	if err != nil {
		return "", err
	}
	return view.auth.Tokens.RefreshToken, nil
}
