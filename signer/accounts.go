package signer

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Accounts tells whose an access token is that does not say so itself.
type Accounts interface {
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
