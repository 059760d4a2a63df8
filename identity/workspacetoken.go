package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// IsWorkspaceToken reports whether token is an access token of a workspace, which an
// administrator makes: Codex calls it a personal access token. It says nothing of
// itself, does not expire, and cannot be refreshed.
func IsWorkspaceToken(token Secret) bool { return strings.HasPrefix(string(token), "at-") }

// ErrTokenLogin says that no agent identity is registered or used, because the log-in
// is an access token of a workspace, with which Codex uses none. It wraps
// [ErrNoIdentity].
var ErrTokenLogin = fmt.Errorf("%w: the log-in is a workspace's access token, which acts without one", ErrNoIdentity)

// remedyWorkspaceToken is what to do about a token that is refused.
const remedyWorkspaceToken = "have another made in the workspace's settings, and run codex login --with-access-token"

// Whoami asks whose an access token of a workspace is.
func (b *Backend) Whoami(ctx context.Context, token Secret) (_ Account, err error) {
	defer b.observe(OperationWhoami, &err)
	const doing = "ask whose the workspace's access token is"
	_, raw, err := b.do(ctx, call{
		doing: doing, method: http.MethodGet, url: b.config.Overrides.AccountsURL + "/v1/user-auth-credential/whoami",
		header: http.Header{"Authorization": {"Bearer " + token.Reveal()}},
	})
	if err != nil {
		return Account{}, err
	}
	account, err := parseWhoami(raw)
	if err != nil {
		return Account{}, fmt.Errorf("%s: %w", doing, err)
	}
	return account, nil
}

func parseWhoami(raw []byte) (Account, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	account := Account{
		WorkspaceID: o.Required("chatgpt_account_id"),
		UserID:      o.Required("chatgpt_user_id"),
		Email:       o.Text("email"),
		PlanType:    o.Text("chatgpt_plan_type"),
		FedRAMP:     o.Bool("chatgpt_account_is_fedramp"),
	}
	if d.Err == nil && !headerSafe(account.WorkspaceID) {
		d.Err = errors.New("the answer's chatgpt_account_id cannot be sent in a header")
	}
	return account, d.Err
}

// knownToken is what was learnt of a workspace's token.
type knownToken struct {
	Token   string  `json:"token"` // its SHA-256 in hex
	Account Account `json:"account"`
}

// maxKnownTokens bounds the tokens that an agent knows: its log-in's, and those of
// rules.
const maxKnownTokens = 16

// TokenAccount returns the account of a workspace's access token. The accounts
// service is asked once for each token.
func (a *Agent) TokenAccount(ctx context.Context, token Secret) (Account, error) {
	hash := tokenHash(token)
	if account, ok := a.knownAccount(hash); ok {
		return account, nil
	}
	if a.config.Backend == nil {
		return Account{}, fmt.Errorf("%w: there is no backend to ask whose the workspace's access token is", ErrNoLogin)
	}
	return a.whoamis.do(ctx, hash, func(ctx context.Context) (Account, error) {
		if account, ok := a.knownAccount(hash); ok {
			return account, nil // somebody was faster
		}
		if err := a.whoamiFailed.ready(a.config.Clock.Now(), hash); err != nil {
			return Account{}, err
		}
		account, err := a.config.Backend.Whoami(ctx, token)
		switch statusOf(err) {
		case http.StatusUnauthorized, http.StatusForbidden:
			err = fmt.Errorf("%w: %w; %s", ErrNoLogin, err, remedyWorkspaceToken)
		}
		a.whoamiFailed.done(a.config.Clock.Now(), hash, err)
		if err == nil {
			a.learnToken(knownToken{hash, account})
		}
		return account, err
	})
}

// knownAccount returns the account of a token whose hash is known.
func (a *Agent) knownAccount(hash string) (Account, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.knownTokens == nil {
		a.knownTokens = readKnownTokens(a.whoamiPath())
	}
	account, ok := a.knownTokens[hash]
	return account, ok
}

// whoamiPath is where what was learnt of tokens is kept, "" for nowhere.
func (a *Agent) whoamiPath() string {
	if a.config.StateDir == "" {
		return ""
	}
	return filepath.Join(a.config.StateDir, "whoami.json")
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
	a.tokens.tell("whose the workspace's access token is is remembered in memory only", writeKnownTokens(a.whoamiPath(), all))
}

func writeKnownTokens(path string, all []knownToken) error {
	if path == "" {
		return nil
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return safefile.Write(path, append(raw, '\n'), 0o600)
}

// readKnownTokens returns what the file at path holds, nothing if it cannot be read.
func readKnownTokens(path string) map[string]Account {
	known := make(map[string]Account)
	raw, err := safefile.Read(path, maxStateBytes)
	var all []knownToken
	if err != nil || json.Unmarshal(raw, &all) != nil {
		return known
	}
	for _, k := range all[:min(len(all), maxKnownTokens)] {
		if k.Account.WorkspaceID != "" && headerSafe(k.Account.WorkspaceID) {
			known[k.Token] = k.Account
		}
	}
	return known
}
