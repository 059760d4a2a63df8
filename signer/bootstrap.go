package signer

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Bootstrap keeps assertions away from the requests by which assertions come
// to be: the human biscuit is asked for with a Bearer token, and registrations
// carry what the client itself put on them. All else is Next's.
type Bootstrap struct {
	// Bearer signs the requests for a biscuit. nil: they are refused, for the
	// configuration wants nothing done in the name of the log-in.
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
		return keep, nil
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
