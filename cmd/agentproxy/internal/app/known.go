package app

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/signer"
)

// Known returns the scheme of the credential that a request of p would get now, or why the
// request would be refused, as far as that is known. It asks no backend and runs no
// command. A signer that was not asked yet counts as working, unless it needs an agent
// that is not registered.
func (a *App) Known(ctx context.Context, p *Principal) (signer.Scheme, error) {
	auth, err := p.signers.known.Sign(ctx, probe)
	if err == nil {
		err = a.auditError(func() error { return a.audit.Failed() })
	}
	if err != nil {
		return "", err
	}
	return auth.Scheme, nil
}

// outcomes remember the last outcomes of the signers of a principal.
type outcomes struct {
	bearer, assertion outcome
	others            []outcome // commands and tokens, as [config.Signer.All] has them
}

// outcome remembers why a signer failed the last time it was asked. It is a signer that
// fails for the same reason, and signs with a Bearer token if there is none.
type outcome struct{ failure atomic.Pointer[error] }

var _ signer.Signer = (*outcome)(nil)

// last returns why the signer failed the last time, nil if it did not.
func (o *outcome) last() error {
	if failure := o.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// Sign implements [signer.Signer].
func (o *outcome) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	if err := o.last(); err != nil {
		return nil, err
	}
	return &signer.Authorization{Scheme: signer.SchemeBearer}, nil
}

// watch returns s, whose outcomes are remembered.
func (o *outcome) watch(s signer.Renewer) signer.Renewer { return &watchedSigner{s, o} }

// watchedSigner remembers the last outcome of a signer.
type watchedSigner struct {
	signer.Renewer
	outcome *outcome
}

// Sign implements [signer.Signer].
func (w *watchedSigner) Sign(ctx context.Context, r signer.Request) (*signer.Authorization, error) {
	auth, err := w.Renewer.Sign(ctx, r)
	switch {
	case err == nil:
		if w.outcome.failure.Load() != nil {
			w.outcome.failure.Store(nil)
		}
	case ctx.Err() == nil:
		w.outcome.failure.Store(&err)
	}
	return auth, err
}

// knownSources answer for an agent without asking the backend.
type knownSources struct {
	*agent.Agent
	clock *backend.Clock
	last  *outcomes
}

var (
	_ signer.Tokens   = knownSources{}
	_ signer.Sessions = knownSources{}
)

// errReadOnly is never returned to anybody: nobody renews what knownSources return.
var errReadOnly = errors.New("nothing is renewed to find out what is known")

// AccessToken implements [signer.Tokens]. The token's value is not that of the log-in.
func (k knownSources) AccessToken(ctx context.Context) (identity.AccessToken, error) {
	account, err := k.Account(ctx)
	if err != nil {
		return identity.AccessToken{}, err
	}
	expiry, err := k.TokenExpiry(ctx)
	if err == nil && !expiry.IsZero() && !k.clock.Backend().Before(expiry) {
		// A request would have it refreshed.
		if err = k.LoginEnded(ctx); err == nil {
			err = k.last.bearer.last()
		}
	}
	return identity.AccessToken{Value: "known", Account: account}, err
}

// RenewToken implements [signer.Tokens].
func (knownSources) RenewToken(context.Context, identity.Secret) (identity.AccessToken, error) {
	return identity.AccessToken{}, errReadOnly
}

// Session implements [signer.Sessions].
func (k knownSources) Session(ctx context.Context, label string) (identity.Session, error) {
	id, err := k.Identity(ctx)
	if err == nil {
		if task, ok := k.Task(ctx, label); ok {
			return identity.Session{Identity: id, Task: task, ClockOffset: k.ClockOffset()}, nil
		}
		err = identity.ErrNoTask
	}
	// The reason of a failed try says more than that nothing is there.
	if last := k.last.assertion.last(); last != nil && (errors.Is(err, identity.ErrNoTask) || errors.Is(err, identity.ErrNoIdentity)) {
		err = last
	}
	return identity.Session{}, err
}

// TaskRejected implements [signer.Sessions].
func (knownSources) TaskRejected(string, identity.Task) bool { return false }
