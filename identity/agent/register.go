package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// errAccountChanged says that the account of the log-in changed during a registration.
var errAccountChanged = errors.New("the log-in has changed meanwhile")

// ensureIdentity returns the stored identity. It registers one if there is none.
func (a *Agent) ensureIdentity(ctx context.Context) (*identity.Identity, error) {
	auth, account, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	id, err := a.find(ctx, auth, account)
	if err == nil || !a.mayRegister() || a.readOnly() || !canVouch(auth) || !replaceable(err) {
		return id, err
	}
	return a.identities.Do(ctx, "", a.registerIdentity)
}

// Registers reports whether a request would have an identity registered, where
// [Agent.Identity] has returned err. It disregards [Config.ReadOnly], and whether there is a
// token to register with.
func (a *Agent) Registers(ctx context.Context, err error) bool {
	auth, _, loginErr := a.login(ctx)
	return loginErr == nil && a.config.Register && a.config.Backend != nil && !a.readOnly() && canVouch(auth) && replaceable(err)
}

// readOnly reports whether the identity is another program's to change.
func (a *Agent) readOnly() bool { return a.config.Store != nil && a.config.Store.ReadOnly() != nil }

// canVouch reports whether an identity can be registered with the log-in.
func canVouch(auth *codex.Auth) bool {
	return hasTokens(auth) && auth.Mode != codex.ModePersonalAccessToken
}

// hasTokens reports whether there is a log-in with an access token.
func hasTokens(auth *codex.Auth) bool { return auth != nil && auth.Tokens != nil }

// replaceable reports whether another identity may be registered after err, which says why
// the stored one is missing or not used.
func replaceable(err error) bool {
	reasons := []error{identity.ErrNoIdentity, identity.ErrOtherWorkspace, identity.ErrOtherUser, identity.ErrBadKey, errUnknownAgent, backend.ErrUnverified}
	_, corrupt := errors.AsType[*identity.FileError](err)
	return corrupt || slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) })
}

// Register registers a new identity, whether or not there is one.
func (a *Agent) Register(ctx context.Context) (*identity.Identity, error) {
	if a.config.Backend == nil || a.config.Store == nil {
		return nil, errors.New("there is no backend or no store to register an identity with")
	}
	if err := a.config.Store.ReadOnly(); err != nil {
		return nil, err
	}
	return a.identities.Do(ctx, "another", func(ctx context.Context) (*identity.Identity, error) {
		unlock, err := a.lockState(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
		return a.registerNew(ctx)
	})
}

// registerIdentity registers an identity unless another process has done so.
func (a *Agent) registerIdentity(ctx context.Context) (*identity.Identity, error) {
	unlock, err := a.lockState(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a.forget() // another process may have been here first
	auth, account, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	if id, err := a.find(ctx, auth, account); err == nil || !canVouch(auth) || !replaceable(err) {
		return id, err
	}
	// Another log-in is tried at once, and the same one when its file has changed.
	if err := a.identityFailed.Ready(a.config.Clock.Now(), auth); err != nil {
		return nil, err
	}
	id, err := a.registerNew(ctx)
	a.identityFailed.Done(a.config.Clock.Now(), auth, err, backend.RetryAfter(err))
	if err != nil && ctx.Err() == nil {
		a.config.Notify(Event{Message: "no agent identity was registered", Err: err})
	}
	return id, err
}

// registerNew registers an identity, and another if the log-in has changed meanwhile. The
// caller holds the lock of lockState.
func (a *Agent) registerNew(ctx context.Context) (*identity.Identity, error) {
	id, err := a.registerOnce(ctx)
	if errors.Is(err, errAccountChanged) {
		id, err = a.registerOnce(ctx)
	}
	return id, err
}

func (a *Agent) registerOnce(ctx context.Context) (*identity.Identity, error) {
	record, id, err := a.newIdentity(ctx, a.agentProtocols())
	if err != nil {
		return nil, err
	}
	a.adopt(record)
	return id, nil
}

// newIdentity registers an agent by the first of protocols that is answered. It stores
// nothing.
func (a *Agent) newIdentity(ctx context.Context, protocols []identity.Protocol) (*identity.Record, *identity.Identity, error) {
	// All that follows goes by this one version of the log-in.
	view, err := a.tokens.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	account, err := view.auth.Account(a.config.WorkspaceID)
	if err != nil {
		return nil, nil, err
	}
	key, err := identity.GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	protocol, runtimeID, err := a.registerAgent(ctx, protocols, key, view, account)
	if err != nil {
		return nil, nil, err
	}
	if now, err := a.Account(ctx); err != nil || !sameAccount(now, account) {
		return nil, nil, errAccountChanged
	}
	record := &identity.Record{
		WorkspaceID: account.WorkspaceID, UserID: account.UserID,
		AgentRuntimeID: runtimeID, PrivateKey: key.Encode(),
		RegisteredAt: a.config.Clock.Backend().UTC().Format(time.RFC3339),
		Email:        account.Email, PlanType: account.PlanType, FedRAMP: account.FedRAMP,
		Shape: identity.ShapeC, Protocol: protocol,
	}
	id, err := record.Bind(account)
	return record, id, err
}

// registerAgent registers an agent by the first of protocols that is answered.
func (a *Agent) registerAgent(ctx context.Context, protocols []identity.Protocol, key *identity.Key, view *tokenView, account identity.Account) (protocol identity.Protocol, runtimeID string, err error) {
	for _, protocol := range protocols {
		var tried error
		if protocol == identity.ProtocolAccounts {
			runtimeID, tried = a.registerByToken(ctx, key, view, account)
		} else {
			runtimeID, tried = a.registerByBiscuit(ctx, key, view, account)
		}
		if tried == nil {
			a.remember("", protocol)
			return protocol, runtimeID, nil
		}
		if err = alsoTried(err, tried); !backend.IsMissing(tried) {
			break
		}
	}
	return "", "", err
}

// alsoTried returns err, nil at first, with the error of another try behind it.
func alsoTried(err, tried error) error {
	if err == nil {
		return tried
	}
	return fmt.Errorf("%w; by the other protocol: %w", err, tried)
}

func (a *Agent) registerByBiscuit(ctx context.Context, key *identity.Key, view *tokenView, account identity.Account) (runtimeID string, err error) {
	biscuit, err := a.biscuit(ctx, view, account, a.config.Backend.Endpoints().RegisterAgent)
	if err != nil {
		return "", err
	}
	return a.config.Backend.RegisterAgent(ctx, key, biscuit)
}

func (a *Agent) registerByToken(ctx context.Context, key *identity.Key, view *tokenView, account identity.Account) (runtimeID string, err error) {
	err = a.withToken(ctx, view, account, func(token identity.Secret) (err error) {
		runtimeID, err = a.config.Backend.RegisterAgentByToken(ctx, key, identity.AccessToken{Value: token, Account: account})
		return err
	})
	return runtimeID, err
}

// adopt makes the identity that was just registered the one in use.
func (a *Agent) adopt(record *identity.Record) {
	err := a.keep(record)
	a.mu.Lock()
	a.held, a.stored, a.unsaved = heldIdentity{}, heldRecord{}, nil
	if err != nil {
		a.unsaved = record // what is registered must serve, or the next try registers another
	}
	a.mu.Unlock()
	if err != nil {
		a.config.Notify(Event{Message: "the agent identity is remembered in memory only", Err: err})
	}
	a.config.Notify(Event{Message: fmt.Sprintf("agent identity %q was registered for workspace %q", record.AgentRuntimeID, record.WorkspaceID)})
}

// Keep stores record as the identity in use. What was stored before is set aside.
func (a *Agent) Keep(record *identity.Record) error {
	unlock, err := a.lockState(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	defer a.forget()
	return a.keep(record)
}

// keep is Keep for a caller that holds the lock of lockState.
func (a *Agent) keep(record *identity.Record) error {
	if old, err := a.config.Store.Load(); err == nil && old.AgentRuntimeID == record.AgentRuntimeID {
		return a.config.Store.Save(record)
	}
	place, err := a.config.Store.SetAside(a.config.Clock.Now())
	if err != nil {
		return err
	}
	if place != "" {
		a.config.Notify(Event{Message: "the former agent identity is kept as " + place})
	}
	return a.config.Store.Save(record)
}

func sameAccount(a, b identity.Account) bool {
	return a.WorkspaceID == b.WorkspaceID && a.UserID == b.UserID
}

// biscuit returns a biscuit for url, asked for with the token of view.
func (a *Agent) biscuit(ctx context.Context, view *tokenView, account identity.Account, url string) (biscuit identity.Secret, err error) {
	err = a.withToken(ctx, view, account, func(token identity.Secret) (err error) {
		biscuit, err = a.config.Backend.Biscuit(ctx, token, url)
		return err
	})
	return biscuit, err
}

// withToken calls ask with the token of view. If the backend refuses the token, it renews
// the token once, for the same account, and calls ask again.
func (a *Agent) withToken(ctx context.Context, view *tokenView, account identity.Account, ask func(identity.Secret) error) error {
	err := ask(view.token.Value)
	if backend.Status(err) != http.StatusUnauthorized {
		return err
	}
	renewed, renewErr := a.tokens.rejected(ctx, view.token.Value)
	if renewErr != nil {
		return fmt.Errorf("%w: %w", err, renewErr)
	}
	if now, err := renewed.auth.Account(a.config.WorkspaceID); err != nil || !sameAccount(now, account) {
		return errAccountChanged
	}
	return ask(renewed.token.Value)
}

// lockState keeps other processes from registering an identity until unlock is called.
func (a *Agent) lockState(ctx context.Context) (unlock func(), err error) {
	if a.config.StateDir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(a.config.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	return safefile.Lock(ctx, filepath.Join(a.config.StateDir, "identity.lock"))
}
