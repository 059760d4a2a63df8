package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
)

// login returns the log-in, nil if there is none, and the account to act for. The identity
// in the store outlives the log-in that it was registered with: if nobody is logged in, the
// account is that of the identity.
func (a *Agent) login(ctx context.Context) (*codex.Auth, identity.Account, error) {
	auth, err := a.loadLogin(ctx)
	if err == nil {
		account, err := auth.Account(a.config.WorkspaceID)
		return auth, account, err
	}
	if !errors.Is(err, identity.ErrNoLogin) || a.config.Store == nil || a.hasToken() {
		return nil, identity.Account{}, err
	}
	record, storeErr := a.load()
	if storeErr != nil {
		if a.readOnly() {
			err = storeErr // no log-in was meant to be there
		}
		return nil, identity.Account{}, err
	}
	account := record.Account()
	if forced := a.config.WorkspaceID; forced != "" {
		account.WorkspaceID = forced
	}
	return nil, account, nil
}

// load returns the record in the store. It reads the record again when it has changed.
func (a *Agent) load() (*identity.Record, error) {
	version := a.config.Store.Version()
	a.mu.Lock()
	stored, unsaved := a.stored, a.unsaved
	a.mu.Unlock()
	if unsaved != nil {
		return unsaved, nil
	}
	if stored.version == version && (stored.record != nil || stored.err != nil) {
		return stored.record, stored.err
	}
	record, err := a.config.Store.Load()
	stored = heldRecord{version, record, err}
	if err != nil && !errors.Is(err, identity.ErrNoIdentity) {
		stored = heldRecord{} // what is wrong may be mended without a trace
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stored = stored
	return record, err
}

// forget drops what was read of the log-in's identity and of the store.
func (a *Agent) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held, a.stored = heldIdentity{}, heldRecord{}
}

// Account returns the account that the agent acts for.
func (a *Agent) Account(ctx context.Context) (identity.Account, error) {
	_, account, err := a.login(ctx)
	return account, err
}

// Identity returns the stored identity to sign as: the one in the store, else the one in
// auth.json. It registers nothing.
func (a *Agent) Identity(ctx context.Context) (*identity.Identity, error) {
	auth, account, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	return a.find(ctx, auth, account)
}

// find returns the identity for a log-in. It keeps the identity until the log-in or the
// store changes.
func (a *Agent) find(ctx context.Context, auth *codex.Auth, account identity.Account) (*identity.Identity, error) {
	var version store.Version
	if a.config.Store != nil {
		version = a.config.Store.Version()
	}
	a.mu.Lock()
	held := a.held
	a.mu.Unlock()
	if held.auth == auth && held.stored == version && held.identity != nil {
		return held.identity, nil
	}
	if auth != nil && auth.Mode == codex.ModePersonalAccessToken && !a.readOnly() {
		return nil, fmt.Errorf("%s: %w", auth.Name(), identity.ErrTokenLogin)
	}
	id, err := a.findAnew(ctx, auth, account)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.held = heldIdentity{auth: auth, stored: version, identity: id}
	a.mu.Unlock()
	return id, nil
}

// findAnew is find without what is kept.
func (a *Agent) findAnew(ctx context.Context, auth *codex.Auth, account identity.Account) (*identity.Identity, error) {
	id, err := a.findKept(ctx, account)
	if err == nil || a.readOnly() {
		return id, err
	}
	id, codexErr := a.findCodexs(ctx, auth, account)
	if codexErr == nil {
		return id, nil
	}
	if errors.Is(err, identity.ErrNoIdentity) {
		return nil, codexErr
	}
	return nil, err
}

// findKept returns the identity in the store.
func (a *Agent) findKept(ctx context.Context, account identity.Account) (*identity.Identity, error) {
	if a.config.Store == nil {
		return nil, identity.ErrNoIdentity
	}
	record, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.use(ctx, a.config.Store.String(), record, account)
}

// findCodexs returns the identity in auth.json.
func (a *Agent) findCodexs(ctx context.Context, auth *codex.Auth, account identity.Account) (*identity.Identity, error) {
	switch {
	case auth == nil:
		return nil, identity.ErrNoIdentity
	case auth.RecordErr != nil:
		return nil, auth.RecordErr
	case auth.Record == nil:
		return nil, fmt.Errorf("%s: %w", auth.Name(), identity.ErrNoIdentity)
	}
	return a.use(ctx, auth.Name(), auth.Record, account)
}

// use returns the identity of a record, if it may be used.
func (a *Agent) use(ctx context.Context, name string, record *identity.Record, account identity.Account) (*identity.Identity, error) {
	id, err := record.Bind(account)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.mu.Lock()
	unusable := a.unusable[record.AgentRuntimeID]
	a.mu.Unlock()
	if unusable {
		return nil, fmt.Errorf("%s: agent identity %q: %w", name, record.AgentRuntimeID, errUnknownAgent)
	}
	if record.JWT != "" {
		if err := a.verify(ctx, record); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return id, nil
}

// errUnknownAgent says that the backend no longer knows an agent.
var errUnknownAgent = errors.New("the backend does not know it")

// verify verifies the JWT of a record with the backend, once for each JWT.
func (a *Agent) verify(ctx context.Context, record *identity.Record) error {
	if !record.Expiry.IsZero() && !a.config.Clock.Backend().Before(record.Expiry) {
		return fmt.Errorf("agent identity %q: %w: it has expired", record.AgentRuntimeID, backend.ErrUnverified)
	}
	if a.isVerified(record) {
		return nil
	}
	if a.config.Backend == nil {
		return fmt.Errorf("agent identity %q: %w: there is no backend to ask", record.AgentRuntimeID, backend.ErrUnverified)
	}
	_, err := a.verifications.Do(ctx, tokenHash(record.JWT), func(ctx context.Context) (struct{}, error) {
		if a.isVerified(record) {
			return struct{}{}, nil // another caller was faster
		}
		if err := a.verifyFailed.Ready(a.config.Clock.Now(), record.JWT); err != nil {
			return struct{}{}, err
		}
		err := a.config.Backend.VerifyJWT(ctx, record)
		a.verifyFailed.Done(a.config.Clock.Now(), record.JWT, err, backend.RetryAfter(err))
		if err == nil {
			a.mu.Lock()
			a.verified = record.JWT
			a.mu.Unlock()
		}
		return struct{}{}, err
	})
	return err
}

func (a *Agent) isVerified(record *identity.Record) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.verified == record.JWT
}
