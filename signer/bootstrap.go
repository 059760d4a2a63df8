package signer

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Bootstrap keeps assertions away from the requests that make agents. A request for the
// human biscuit gets a Bearer token, and a registration keeps the client's own credential.
// Next signs everything else.
type Bootstrap struct {
	// Bearer signs the requests for a biscuit. nil: they are refused.
	Bearer Signer
	Next   Signer
}

var _ Renewer = Bootstrap{}

// Sign implements [Signer].
func (b Bootstrap) Sign(ctx context.Context, r Request) (*Authorization, error) {
	switch identity.IsBootstrapPath(r.Path) {
	case identity.BootstrapBiscuit:
		if b.Bearer == nil || r.Kind != KindUnknown && r.Kind != KindBiscuit {
			return nil, Errorf(BiscuitRefused, "it asks for what agents are made with, which is given to nobody where signer.use is agent-assertion or signer.on_failure is refuse")
		}
		return b.Bearer.Sign(ctx, r)
	case identity.BootstrapRegistration:
		return passThrough, nil
	default:
		return b.Next.Sign(ctx, r)
	}
}

// Renew implements [Renewer].
func (b Bootstrap) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	switch identity.IsBootstrapPath(r.Path) {
	case identity.BootstrapBiscuit:
		if b.Bearer == nil {
			return nil, errNotRenewable
		}
		return renew(ctx, b.Bearer, r, refused)
	case identity.BootstrapRegistration:
		return nil, errNotRenewable
	default:
		return renew(ctx, b.Next, r, refused)
	}
}
