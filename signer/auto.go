package signer

import (
	"context"
	"errors"

	"github.com/agentproxy/agentproxy/identity"
)

// Auto signs with First, or with Fallback if First cannot. If there is no Fallback, or if
// First cannot because the server has refused the agent, the error of First stands.
type Auto struct {
	First    Signer
	Fallback Signer // nil: refuse
	// Account signs the requests of [KindAccount], unless Agent says that First signs them
	// too. nil: First signs them.
	Account Signer
	Agent   Asserter
}

// Asserter knows which requests carry an agent's assertions.
type Asserter interface {
	// AssertsAll reports whether all do, and not inference alone.
	AssertsAll(ctx context.Context) bool
}

var _ Renewer = Auto{}

// Sign implements [Signer]. If neither can sign, the error is that of First with the reason
// of Fallback behind it.
func (a Auto) Sign(ctx context.Context, r Request) (*Authorization, error) {
	if r.Kind == KindAccount && a.Account != nil && !a.Agent.AssertsAll(ctx) {
		return a.Account.Sign(ctx, r)
	}
	auth, err := a.First.Sign(ctx, r)
	if err == nil || a.Fallback == nil || errors.Is(err, identity.ErrTaskRefused) {
		return auth, err
	}
	auth, fallbackErr := a.Fallback.Sign(ctx, r)
	if fallbackErr == nil {
		return auth, nil
	}
	if fallbackErr.Error() == err.Error() {
		return nil, err
	}
	code := CodeOf(err)
	return nil, &Error{Code: code, Message: err.Error() + "; nor with a Bearer token: " + fallbackErr.Error(), Err: err}
}

// Renew implements [Renewer]. It asks a signer of the kind that made the refused credential:
// a server that refuses an assertion does not get the log-in's token instead.
func (a Auto) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	switch {
	case refused.Scheme == SchemeAssertion:
		return renew(ctx, a.First, r, refused)
	case a.Fallback != nil:
		return renew(ctx, a.Fallback, r, refused)
	case a.Account != nil:
		return renew(ctx, a.Account, r, refused)
	}
	return nil, errNotRenewable
}
