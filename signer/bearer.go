package signer

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/identity"
)

// Tokens provides the access token of the log-in for [Bearer].
type Tokens interface {
	// AccessToken returns the token, refreshed if need be.
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

// NewBearer returns a signer with the access token of tokens.
func NewBearer(tokens Tokens) *Bearer { return &Bearer{tokens: tokens} }

// Sign implements [Signer].
func (b *Bearer) Sign(ctx context.Context, _ Request) (*Authorization, error) {
	token, err := b.tokens.AccessToken(ctx)
	if err != nil {
		return nil, fromIdentity(err)
	}
	return b.authorize(token), nil
}

// Renew implements [Renewer], with the token that auth.json holds by now, or with a
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

// trimScheme returns the value of an Authorization field without its scheme.
func trimScheme(authorization string) string {
	_, credential, ok := strings.Cut(strings.TrimSpace(authorization), " ")
	if !ok {
		return authorization
	}
	return strings.TrimSpace(credential)
}
