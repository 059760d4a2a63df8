package agent

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// journal is the record of the last refresh and of the refresh tokens that were spent.
//
// A refresh token is good once. Older versions of Codex may write an older auth.json over
// a refreshed one, for they read and then write without a lock, and a file that is being
// written cannot be changed at that moment. In both cases the file holds a token that is
// spent, and without the journal the tokens that replaced it would be lost.
type journal struct {
	// The account of the log-in.
	WorkspaceID string `json:"workspace_id"`
	UserID      string `json:"user_id"`
	// Spent holds the SHA-256 of spent tokens in hex, the newest last.
	Spent []string `json:"spent"`
	// The tokens in place of those of a log-in with a spent token.
	IDToken      string `json:"id_token"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	LastRefresh  string `json:"last_refresh"`
	// Ended names the log-in that cannot be refreshed any more, nil if there is none.
	Ended *endNote `json:"ended,omitempty"`
}

// endNote names a log-in that has ended. It holds no secret.
type endNote struct {
	Login  string `json:"login"` // the SHA-256 of its tokens in hex
	Reason string `json:"reason"`
}

// maxStateBytes bounds each of the agent's files.
const maxStateBytes = 1 << 20

// maxSpent bounds the spent tokens that are remembered. A file that is so many refreshes,
// or months, old does not come back.
const maxSpent = 64

func tokenHash(token identity.Secret) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// covers reports whether this refresh token is spent.
func (j *journal) covers(token identity.Secret) bool {
	return j != nil && token != "" && slices.Contains(j.Spent, tokenHash(token))
}

// replaces reports whether the journal's tokens are newer than those of auth.
func (j *journal) replaces(auth *codex.Auth) bool {
	if j == nil || auth.Tokens == nil {
		return false
	}
	if j.RefreshToken != string(auth.Tokens.RefreshToken) {
		return j.covers(auth.Tokens.RefreshToken)
	}
	// The backend does not replace refresh tokens. Codex may have had this one
	// exchanged since.
	at, err := time.Parse(time.RFC3339, j.LastRefresh)
	return err == nil && j.AccessToken != string(auth.Tokens.AccessToken) && at.After(auth.LastRefresh)
}

// next returns the journal after the tokens before, of a log-in of account, were exchanged
// for r. A token that r leaves out stays.
func (j *journal) next(account identity.Account, before codex.Tokens, r identity.TokenSet, lastRefresh string) *journal {
	n := &journal{
		WorkspaceID:  account.WorkspaceID,
		UserID:       account.UserID,
		IDToken:      string(cmp.Or(r.IDToken, before.IDToken)),
		AccessToken:  string(r.AccessToken),
		RefreshToken: string(cmp.Or(r.RefreshToken, before.RefreshToken)),
		LastRefresh:  lastRefresh,
	}
	spent := []string{tokenHash(before.RefreshToken)}
	switch {
	case j == nil:
	case j.RefreshToken == string(before.RefreshToken):
		spent = append(slices.Clone(j.Spent), spent...)
	case j.UserID != "" && j.UserID == n.UserID && j.WorkspaceID == n.WorkspaceID:
		// Codex has refreshed what the journal held, or the person has logged in
		// again. Either way the journal's refresh token is out of date.
		spent = append(append(slices.Clone(j.Spent), tokenHash(identity.Secret(j.RefreshToken))), spent...)
	}
	// A backend that does not replace refresh tokens leaves this one good.
	current := tokenHash(identity.Secret(n.RefreshToken))
	spent = slices.DeleteFunc(spent, func(hash string) bool { return hash == current })
	n.Spent = spent[max(0, len(spent)-maxSpent):]
	return n
}

// loginHash returns a hash that tells one log-in from the next. The access token is part
// of it: some backends do not replace refresh tokens.
func loginHash(tokens *codex.Tokens) string {
	return tokenHash(tokens.RefreshToken + "\n" + tokens.AccessToken)
}

// endOf returns why the log-in with these tokens has ended, "" if that is not known.
func (j *journal) endOf(tokens *codex.Tokens) string {
	if j == nil || j.Ended == nil || j.Ended.Login != loginHash(tokens) {
		return ""
	}
	return j.Ended.Reason
}

// withEnd returns a copy of the journal that notes why the log-in with these tokens has
// ended.
func (j *journal) withEnd(tokens *codex.Tokens, reason string) *journal {
	n := new(journal)
	if j != nil {
		*n = *j
	}
	n.Ended = &endNote{loginHash(tokens), reason}
	return n
}

func (j *journal) tokens() identity.TokenSet {
	return identity.TokenSet{IDToken: identity.Secret(j.IDToken), AccessToken: identity.Secret(j.AccessToken), RefreshToken: identity.Secret(j.RefreshToken)}
}

// apply returns a copy of auth with the journal's tokens.
func (j *journal) apply(auth *codex.Auth) (*codex.Auth, error) {
	claims := auth.Tokens.Claims
	if j.IDToken != "" {
		var err error
		if claims, err = parseIDToken(j.IDToken); err != nil {
			return nil, err
		}
	}
	renewed := *auth
	renewed.Tokens = &codex.Tokens{
		IDToken: identity.Secret(j.IDToken), AccessToken: identity.Secret(j.AccessToken), RefreshToken: identity.Secret(j.RefreshToken),
		AccountID: auth.Tokens.AccountID, Claims: claims,
	}
	if at, err := time.Parse(time.RFC3339, j.LastRefresh); err == nil {
		renewed.LastRefresh = at
	}
	return &renewed, nil
}

// parseIDToken returns the claims of an id token. The error names the remedy.
func parseIDToken(jwt string) (identity.Claims, error) {
	claims, err := identity.ParseClaims(jwt)
	if err != nil {
		return identity.Claims{}, fmt.Errorf("id token: %w; %s", err, identity.RemedyLogin)
	}
	return claims, nil
}

func readJournal(path string) (*journal, error) {
	raw, err := safefile.Read(path, maxStateBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, safefile.ErrNotRegular), errors.Is(err, safefile.ErrTooLarge):
		return nil, &identity.FileError{Path: path, Reason: safefile.Cause(err).Error(), Remedy: "remove it", Err: err}
	case err != nil:
		return nil, err
	}
	return parseJournal(path, raw)
}

func parseJournal(path string, raw []byte) (*journal, error) {
	j := new(journal)
	// The parser's own error could quote a token.
	if json.Unmarshal(raw, j) != nil || j.AccessToken == "" && j.Ended == nil || !identity.HeaderSafe(j.AccessToken) {
		return nil, &identity.FileError{Path: path, Reason: "not a record of a refresh", Remedy: "remove it"}
	}
	return j, nil
}

func (j *journal) write(path string) error {
	raw, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return writeState(path, raw)
}

// writeState writes one of the agent's files, and makes its directory. The path "" is for what
// is kept in memory.
func writeState(path string, raw []byte) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return safefile.Write(path, raw, 0o600)
}
