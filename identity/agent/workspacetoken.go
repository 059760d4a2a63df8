package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// remedyWorkspaceToken is what to do about a workspace's token that is refused.
const remedyWorkspaceToken = "have another made in the workspace's settings, and run codex login --with-access-token"

// knownToken is the account of a workspace's token.
type knownToken struct {
	Token   string           `json:"token"` // its SHA-256 in hex
	Account identity.Account `json:"account"`
}

// maxKnownTokens bounds the tokens whose accounts are kept: that of the log-in, and those
// of rules.
const maxKnownTokens = 16

// TokenAccount returns the account of a workspace's access token. It asks the accounts
// service once for each token.
func (a *Agent) TokenAccount(ctx context.Context, token identity.Secret) (identity.Account, error) {
	hash := tokenHash(token)
	if account, ok := a.knownAccount(hash); ok {
		return account, nil
	}
	if a.config.Backend == nil {
		return identity.Account{}, fmt.Errorf("%w: there is no backend to ask whose the workspace's access token is", identity.ErrNoLogin)
	}
	return a.whoamis.Do(ctx, hash, func(ctx context.Context) (identity.Account, error) {
		if account, ok := a.knownAccount(hash); ok {
			return account, nil // another caller was faster
		}
		if err := a.whoamiFailed.Ready(a.config.Clock.Now(), hash); err != nil {
			return identity.Account{}, err
		}
		account, err := a.config.Backend.Whoami(ctx, token)
		switch backend.Status(err) {
		case http.StatusUnauthorized, http.StatusForbidden:
			err = fmt.Errorf("%w: %w; %s", identity.ErrNoLogin, err, remedyWorkspaceToken)
		}
		a.whoamiFailed.Done(a.config.Clock.Now(), hash, err, backend.RetryAfter(err))
		if err == nil {
			a.learnToken(knownToken{hash, account})
		}
		return account, err
	})
}

// knownAccount returns the account of a token whose hash is known.
func (a *Agent) knownAccount(hash string) (identity.Account, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.knownTokens == nil {
		a.knownTokens = readKnownTokens(a.config.statePath("whoami.json"))
	}
	account, ok := a.knownTokens[hash]
	return account, ok
}

func (a *Agent) learnToken(known knownToken) {
	a.mu.Lock()
	if len(a.knownTokens) >= maxKnownTokens {
		clear(a.knownTokens)
	}
	a.knownTokens[known.Token] = known.Account
	var all []knownToken
	for hash, account := range a.knownTokens {
		all = append(all, knownToken{hash, account})
	}
	a.mu.Unlock()
	if a.config.ReadOnly {
		return
	}
	a.tokens.warnOnce("whose the workspace's access token is is remembered in memory only", writeKnownTokens(a.config.statePath("whoami.json"), all))
}

func writeKnownTokens(path string, all []knownToken) error {
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return writeState(path, append(raw, '\n'))
}

// readKnownTokens returns the accounts in the file at path, by the hashes of their tokens.
// It returns none if the file cannot be read.
func readKnownTokens(path string) map[string]identity.Account {
	known := make(map[string]identity.Account)
	raw, err := safefile.Read(path, maxStateBytes)
	var all []knownToken
	if err != nil || json.Unmarshal(raw, &all) != nil {
		return known
	}
	for _, k := range all[:min(len(all), maxKnownTokens)] {
		if k.Account.WorkspaceID != "" && identity.HeaderSafe(k.Account.WorkspaceID) {
			known[k.Token] = k.Account
		}
	}
	return known
}
