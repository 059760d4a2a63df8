package app

import (
	"context"
	"errors"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// Nobody is the account of a client where there is no log-in.
var Nobody = identity.Account{WorkspaceID: "agentproxy", UserID: "agentproxy", Email: "agentproxy@localhost", PlanType: "pro"}

// Placeholder returns the auth.json of Codex as a client, which holds no secret.
func (a *App) Placeholder(ctx context.Context) ([]byte, error) {
	account, err := a.PlaceholderAccount(ctx)
	if err != nil {
		return nil, err
	}
	return codex.Placeholder(account, a.Now())
}

// PlaceholderAccount returns the account that placeholders name: [Nobody] where there is no
// log-in and the signer needs none.
func (a *App) PlaceholderAccount(ctx context.Context) (identity.Account, error) {
	account, err := a.Default.Account.Agent.Account(ctx)
	if err != nil && !a.Default.Config.Signer.UsesLogin() {
		return Nobody, nil
	}
	return account, err
}

// IsPlaceholder reports whether raw is an auth.json that holds nothing but a placeholder.
func IsPlaceholder(raw []byte) bool {
	auth, err := codex.ParseAuth(raw)
	if err != nil || auth.HasAPIKey || auth.PersonalAccessToken != "" || auth.Record != nil || auth.RecordErr != nil {
		return false
	}
	_, _, err = auth.Bearer("")
	return errors.Is(err, identity.ErrPlaceholder)
}
