package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Whoami returns the account of an access token of a workspace.
func (b *Client) Whoami(ctx context.Context, token identity.Secret) (_ identity.Account, err error) {
	defer b.observe(OperationWhoami, &err)
	const doing = "ask whose the workspace's access token is"
	_, raw, err := b.do(ctx, call{
		doing: doing, method: http.MethodGet, url: b.config.Overrides.AccountsURL + "/v1/user-auth-credential/whoami",
		header: http.Header{"Authorization": {"Bearer " + token.Reveal()}},
	})
	if err != nil {
		return identity.Account{}, err
	}
	account, err := parseWhoami(raw)
	if err != nil {
		return identity.Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	return account, nil
}

func parseWhoami(raw []byte) (identity.Account, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	account := identity.Account{
		WorkspaceID: o.Required("chatgpt_account_id"),
		UserID:      o.Required("chatgpt_user_id"),
		Email:       o.Text("email"),
		PlanType:    o.Text("chatgpt_plan_type"),
		FedRAMP:     o.Bool("chatgpt_account_is_fedramp"),
	}
	if d.Err == nil && !identity.HeaderSafe(account.WorkspaceID) {
		d.Err = errors.New("the answer's chatgpt_account_id cannot be sent in a header")
	}
	return account, d.Err
}
