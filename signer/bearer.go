package signer

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/identity"
)

// Tokens is where [Bearer] finds the access token of whoever is logged in.
type Tokens interface {
	AccessToken(ctx context.Context) (identity.AccessToken, error)
	// RenewToken returns the token to use in place of one that was refused.
	RenewToken(ctx context.Context, refused identity.Secret) (identity.AccessToken, error)
}

// Bearer signs with the access token of a ChatGPT log-in.
type Bearer struct {
	tokens Tokens
	last   atomic.Pointer[bearerAnswer]
}

var _ Renewer = (*Bearer)(nil)

type bearerAnswer struct {
	token identity.AccessToken
	auth  *Authorization
}

// NewBearer returns a signer that takes its token from tokens.
func NewBearer(tokens Tokens) *Bearer { return &Bearer{tokens: tokens} }

// Sign implements [Signer].
func (b *Bearer) Sign(ctx context.Context, _ Request) (*Authorization, error) {
	token, err := b.tokens.AccessToken(ctx)
	if err != nil {
		return nil, fromIdentity(err)
	}
	return b.authorize(token), nil
}

// Renew implements [Renewer]: by the token that auth.json holds meanwhile, or a
// refreshed one.
func (b *Bearer) Renew(ctx context.Context, _ Request, refused *Authorization) (*Authorization, error) {
	value := identity.Secret(trimScheme(refused.Value.Reveal()))
	token, err := b.tokens.RenewToken(ctx, value)
	if err != nil {
		return nil, fromIdentity(err)
	}
	if token.Value == value {
		return nil, errNotRenewable
	}
	return b.authorize(token), nil
}

func (b *Bearer) authorize(token identity.AccessToken) *Authorization {
	if last := b.last.Load(); last != nil && last.token == token {
		return last.auth
	}
	auth := &Authorization{
		Value:     bearerValue(token.Value),
		Scheme:    SchemeBearer,
		AccountID: token.Account.WorkspaceID,
		FedRAMP:   token.Account.FedRAMP,
		Signer:    "bearer",
	}
	b.last.Store(&bearerAnswer{token, auth})
	return auth
}

func bearerValue(token identity.Secret) identity.Secret { return "Bearer " + token }

// trimScheme returns the credential of an Authorization header's value.
func trimScheme(authorization string) string {
	_, credential, ok := strings.Cut(strings.TrimSpace(authorization), " ")
	if !ok {
		return authorization
	}
	return strings.TrimSpace(credential)
}
