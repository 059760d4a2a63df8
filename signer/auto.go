package signer

import (
	"context"
	"errors"

	"github.com/agentproxy/agentproxy/identity"
)

// Auto signs with First, and with Fallback where First cannot. Without a
// Fallback First's refusal stands, and so it does where First cannot because the
// server has refused the agent.
type Auto struct {
	First    Signer
	Fallback Signer // nil: refuse
	// Account signs the requests of [KindAccount], unless First signs them too by
	// what Agent says. nil: First does.
	Account Signer
	Agent   Asserter
}

// Asserter knows for which requests an agent's assertions are.
type Asserter interface {
	// AssertsAll reports whether they are for all, and not for inference alone.
	AssertsAll(ctx context.Context) bool
}

var _ Renewer = Auto{}

// Sign implements [Signer]. If neither can sign, the error is First's, for it
// names what was wanted, with Fallback's reason behind it.
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

// Renew implements [Renewer], with a signer of the kind that has made what was
// refused. A server that refuses an assertion is not given the log-in's token
// instead.
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
