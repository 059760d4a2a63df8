package signer

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Bootstrap keeps assertions away from the requests by which assertions come
// to be: the human biscuit is asked for with a Bearer token, and registrations
// carry what the client itself put on them. All else is Next's.
type Bootstrap struct {
	Bearer Signer
	Next   Signer
}

var _ Renewer = Bootstrap{}

// Sign implements [Signer].
func (b Bootstrap) Sign(ctx context.Context, r Request) (*Authorization, error) {
	switch identity.IsBootstrapPath(r.Path) {
	case identity.BootstrapBiscuit:
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
		return renew(ctx, b.Bearer, r, refused)
	case identity.BootstrapRegistration:
		return nil, errNotRenewable
	default:
		return renew(ctx, b.Next, r, refused)
	}
}
