package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// errAccountChanged says that somebody logged in as another while something was
// registered for the one before.
var errAccountChanged = errors.New("the log-in has changed meanwhile")

// ensureIdentity returns the stored identity, or registers one.
func (a *Agent) ensureIdentity(ctx context.Context) (*Identity, error) {
	auth, account, err := a.whom(ctx)
	if err != nil {
		return nil, err
	}
	id, err := a.find(ctx, auth, account)
	if err == nil || !a.mayRegister() || a.given() || !canVouch(auth) || !replaceable(err) {
		return id, err
	}
	return a.identities.do(ctx, "", a.registerIdentity)
}

// given reports whether it is somebody else who says what the identity is.
func (a *Agent) given() bool { return a.config.Store != nil && a.config.Store.ReadOnly() != nil }

// canVouch reports whether there is somebody logged in to register an identity.
func canVouch(auth *Auth) bool { return auth != nil && auth.Tokens != nil }

// replaceable reports whether an identity that is missing or not used for this
// reason may be replaced by a new one.
func replaceable(err error) bool {
	for _, reason := range []error{ErrNoIdentity, ErrOtherWorkspace, ErrOtherUser, ErrBadKey, errUnknownAgent, errUnverified} {
		if errors.Is(err, reason) {
			return true
		}
	}
	_, corrupt := errors.AsType[*FileError](err)
	return corrupt
}

// Register registers a new identity, whether or not there is one.
func (a *Agent) Register(ctx context.Context) (*Identity, error) {
	if a.config.Backend == nil || a.config.Store == nil {
		return nil, errors.New("there is no backend or no store to register an identity with")
	}
	if err := a.config.Store.ReadOnly(); err != nil {
		return nil, err
	}
	return a.identities.do(ctx, "another", func(ctx context.Context) (*Identity, error) {
		unlock, err := a.lockState(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
		return a.registerNew(ctx)
	})
}

// registerIdentity registers an identity unless another process has done so.
func (a *Agent) registerIdentity(ctx context.Context) (*Identity, error) {
	unlock, err := a.lockState(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a.forget() // another process may have been here first
	auth, account, err := a.whom(ctx)
	if err != nil {
		return nil, err
	}
	if id, err := a.find(ctx, auth, account); err == nil || !canVouch(auth) || !replaceable(err) {
		return id, err
	}
	// Another log-in, or the same one put right, is tried at once.
	if err := a.identityFailed.ready(a.config.Clock.Now(), auth); err != nil {
		return nil, err
	}
	id, err := a.registerNew(ctx)
	a.identityFailed.done(a.config.Clock.Now(), auth, err)
	if err != nil && ctx.Err() == nil {
		a.config.Notify(Event{Message: "no agent identity was registered", Err: err})
	}
	return id, err
}

// registerNew registers an identity, and once more if the log-in changed
// meanwhile. The caller holds the state's lock.
func (a *Agent) registerNew(ctx context.Context) (*Identity, error) {
	id, err := a.registerOnce(ctx)
	if errors.Is(err, errAccountChanged) {
		id, err = a.registerOnce(ctx)
	}
	return id, err
}

func (a *Agent) registerOnce(ctx context.Context) (*Identity, error) {
	// One snapshot of the log-in serves all that follows.
	view, err := a.tokens.current(ctx)
	if err != nil {
		return nil, err
	}
	account, err := view.auth.Account(a.config.WorkspaceID)
	if err != nil {
		return nil, err
	}
	key, err := GenerateKey()
	if err != nil {
		return nil, err
	}
	biscuit, err := a.biscuit(ctx, view, account, a.config.Backend.endpoints.RegisterAgent)
	if err != nil {
		return nil, err
	}
	runtimeID, err := a.config.Backend.RegisterAgent(ctx, key, biscuit)
	if err != nil {
		return nil, err
	}
	if now, err := a.Account(ctx); err != nil || !sameAccount(now, account) {
		return nil, errAccountChanged
	}
	record := &Record{
		WorkspaceID: account.WorkspaceID, UserID: account.UserID,
		AgentRuntimeID: runtimeID, PrivateKey: key.Encode(),
		RegisteredAt: a.config.Clock.Backend().UTC().Format(time.RFC3339),
		Email:        account.Email, PlanType: account.PlanType, FedRAMP: account.FedRAMP,
		Shape: ShapeC,
	}
	id, err := record.Bind(account)
	if err != nil {
		return nil, err
	}
	err = a.keep(record)
	a.mu.Lock()
	a.held, a.stored, a.unsaved = heldIdentity{}, heldRecord{}, nil
	if err != nil {
		a.unsaved = record // what is registered must serve, or the next try registers another
	}
	a.mu.Unlock()
	if err != nil {
		a.config.Notify(Event{Message: "the agent identity is remembered in memory only", Err: err})
	}
	a.config.Notify(Event{Message: fmt.Sprintf("agent identity %q was registered for workspace %q", runtimeID, account.WorkspaceID)})
	return id, nil
}

// Keep stores record as the identity in use. What was stored before is set aside.
func (a *Agent) Keep(record *Record) error {
	unlock, err := a.lockState(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	defer a.forget()
	return a.keep(record)
}

// keep is Keep for who holds the state's lock.
func (a *Agent) keep(record *Record) error {
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

func sameAccount(a, b Account) bool { return a.WorkspaceID == b.WorkspaceID && a.UserID == b.UserID }

// biscuit asks for a biscuit with the token of view. Should the backend refuse
// the token, it is renewed once, for the same account.
func (a *Agent) biscuit(ctx context.Context, view *tokenView, account Account, url string) (Secret, error) {
	biscuit, err := a.config.Backend.Biscuit(ctx, view.token.Value, url)
	if statusOf(err) != http.StatusUnauthorized {
		return biscuit, err
	}
	renewed, renewErr := a.tokens.rejected(ctx, view.token.Value)
	if renewErr != nil {
		return "", fmt.Errorf("%w: %w", err, renewErr)
	}
	if now, err := renewed.auth.Account(a.config.WorkspaceID); err != nil || !sameAccount(now, account) {
		return "", errAccountChanged
	}
	return a.config.Backend.Biscuit(ctx, renewed.token.Value, url)
}

// lockState keeps other processes from registering an identity meanwhile.
func (a *Agent) lockState(ctx context.Context) (unlock func(), err error) {
	if a.config.StateDir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(a.config.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	return takeLock(ctx, flock.New(filepath.Join(a.config.StateDir, "identity.lock"), flock.SetPermissions(0o600)))
}
