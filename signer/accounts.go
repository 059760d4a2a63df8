package signer

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Accounts finds the accounts of access tokens that do not name them.
type Accounts interface {
	// TokenAccount returns the account of a workspace's access token.
	TokenAccount(ctx context.Context, token identity.Secret) (identity.Account, error)
}

// withAccount fills in the account of a workspace's access token.
func withAccount(ctx context.Context, accounts Accounts, auth *Authorization) error {
	token := identity.Secret(trimScheme(auth.Value.Reveal()))
	if accounts == nil || auth.Scheme != SchemeBearer || !identity.IsWorkspaceToken(token) {
		return nil
	}
	account, err := accounts.TokenAccount(ctx, token)
	if err != nil {
		return err
	}
	auth.AccountID, auth.FedRAMP = account.WorkspaceID, account.FedRAMP
	return nil
}
