package app

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Nobody is the account of a client where there is no log-in.
var Nobody = identity.Account{WorkspaceID: "agentproxy", UserID: "agentproxy", Email: "agentproxy@localhost", PlanType: "pro"}

// PlaceholderAccount returns the account that placeholders name: [Nobody] where there is no
// log-in and the signer needs none.
func (a *App) PlaceholderAccount(ctx context.Context) (identity.Account, error) {
	account, err := a.Default.Account.Agent.Account(ctx)
	if err != nil && !a.Default.Config.Signer.UsesLogin() {
		return Nobody, nil
	}
	return account, err
}
