package agent

import (
	"context"
	"fmt"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// tokenGiver is a [store.Store] that may hold an access token instead of an identity.
type tokenGiver interface {
	// AccessToken returns the token, "" if there is none.
	AccessToken() (identity.Secret, error)
}

// tokenLogin is the log-in made of an access token.
type tokenLogin struct {
	token identity.Secret
	file  *codex.Auth // that the token is from, nil if it is from elsewhere
	auth  *codex.Auth
}

// loadLogin returns the log-in: that of the access token in the store or in the
// configuration, else the one in the Codex home. An access token of a workspace gets the
// account that the service names. The same log-in is the same pointer.
func (a *Agent) loadLogin(ctx context.Context) (*codex.Auth, error) {
	if giver, ok := a.config.Store.(tokenGiver); ok {
		token, err := giver.AccessToken()
		if err != nil || token != "" {
			return a.loginByToken(ctx, a.config.Store.String(), token, nil, err)
		}
	}
	if a.config.AccessToken != "" {
		return a.loginByToken(ctx, a.config.AccessTokenName, a.config.AccessToken, nil, nil)
	}
	file, err := a.config.Home.Load(ctx)
	if err != nil || file.Mode != codex.ModePersonalAccessToken || !identity.IsWorkspaceToken(file.PersonalAccessToken) {
		return file, err
	}
	return a.loginByToken(ctx, file.Path, file.PersonalAccessToken, file, nil)
}

// hasToken reports whether an access token is in the store or in the configuration. No
// other log-in counts then.
func (a *Agent) hasToken() bool {
	if giver, ok := a.config.Store.(tokenGiver); ok {
		if token, err := giver.AccessToken(); err == nil && token != "" {
			return true
		}
	}
	return a.config.AccessToken != ""
}

// loginByToken returns the log-in made of an access token, from the place called name.
func (a *Agent) loginByToken(ctx context.Context, name string, token identity.Secret, file *codex.Auth, err error) (*codex.Auth, error) {
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	last := a.tokenLogin
	a.mu.Unlock()
	if last.auth != nil && last.token == token && last.file == file {
		return last.auth, nil
	}
	auth, err := a.newTokenLogin(ctx, name, token)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := a.tokenLogin; last.auth != nil && last.token == token && last.file == file {
		return last.auth, nil // another caller was faster
	}
	a.tokenLogin = tokenLogin{token, file, auth}
	return auth, nil
}

func (a *Agent) newTokenLogin(ctx context.Context, name string, token identity.Secret) (*codex.Auth, error) {
	switch {
	case identity.IsPlaceholder(token.Reveal()):
		return nil, fmt.Errorf("%s: %w; a credential is needed", name, identity.ErrPlaceholder)
	case !identity.IsWorkspaceToken(token):
		// Codex takes the JWT of an agent identity there, too.
		record, err := identity.ParseRecord([]byte(token.Reveal()))
		if err != nil || record.JWT == "" {
			return nil, &identity.FileError{Path: name, Reason: "neither an access token of a workspace, at-…, nor the JWT of an agent identity", Remedy: "put one of them there, or nothing"}
		}
		return &codex.Auth{Mode: codex.ModeAgentIdentity, Record: record, Path: name}, nil
	case !identity.HeaderSafe(token.Reveal()):
		return nil, &identity.FileError{Path: name, Reason: "the access token holds bytes that no header may carry", Remedy: remedyWorkspaceToken}
	}
	account, err := a.TokenAccount(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &codex.Auth{
		Mode: codex.ModePersonalAccessToken, PersonalAccessToken: token, Path: name,
		Tokens: &codex.Tokens{AccessToken: token, AccountID: account.WorkspaceID, Claims: identity.Claims{Account: account}},
	}, nil
}
