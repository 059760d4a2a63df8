package signer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Token signs with a fixed Bearer token, from a file or an environment variable. It reads
// the token for every request, so that a new one counts at once.
type Token struct {
	source   string // what holds the token, for errors
	read     func() (string, error)
	accounts Accounts // nil: a token is for the account that it names
	last     atomic.Pointer[Authorization]
}

var _ Renewer = (*Token)(nil)

// maxTokenSize bounds a token, in bytes. ChatGPT's access tokens have about 2 kB.
const maxTokenSize = 64 << 10

// NewTokenFromEnv returns a signer with the token in the environment variable called name.
// It calls lookup for the value. accounts finds the account of a token that does not name
// it, and may be nil.
func NewTokenFromEnv(name string, lookup func(string) (string, bool), accounts Accounts) *Token {
	source := "environment variable " + name
	return &Token{source: source, accounts: accounts, read: func() (string, error) {
		value, ok := lookup(name)
		if !ok || strings.TrimSpace(value) == "" {
			return "", fmt.Errorf("%s is not set; set it to the token, or name another with signer.token_env", source)
		}
		if len(value) > maxTokenSize {
			return "", fmt.Errorf("%s: more than %d bytes; it must be one token and nothing else", source, maxTokenSize)
		}
		return value, nil
	}}
}

// NewTokenFromFile returns a signer with the token in the file at path, which its owner and
// group alone may read. accounts is as that of [NewTokenFromEnv].
func NewTokenFromFile(path string, accounts Accounts) *Token {
	return &Token{source: path, accounts: accounts, read: func() (string, error) { return readTokenFile(path) }}
}

// readTokenFile returns the content of a token file.
func readTokenFile(path string) (string, error) {
	raw, err := safefile.ReadPrivate(path, maxTokenSize, safefile.BeyondGroup)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s: there is no such file; write the token there, or change signer.token_file", path)
	case errors.Is(err, safefile.ErrTooLarge):
		return "", fmt.Errorf("%s: more than %d bytes; a token file holds one token and nothing else", path, maxTokenSize)
	case err != nil:
		return "", fmt.Errorf("%s: %w; make it a file that agentproxy can read, or change signer.token_file", path, safefile.Cause(err))
	case strings.TrimSpace(string(raw)) == "":
		return "", fmt.Errorf("%s: the file is empty; write the token there", path)
	}
	return string(safefile.Text(raw)), nil
}

// Sign implements [Signer].
func (t *Token) Sign(ctx context.Context, _ Request) (*Authorization, error) {
	raw, err := t.read()
	if err != nil {
		return nil, &Error{Code: TokenMissing, Message: err.Error(), Err: err}
	}
	token := strings.TrimSpace(raw)
	if last := t.last.Load(); last != nil && last.Value == bearerValue(identity.Secret(token)) {
		return last, nil
	}
	auth, err := authorizationForToken(token)
	if err != nil {
		return nil, Errorf(TokenMissing, "%s: %w", t.source, err)
	}
	if err := withAccount(ctx, t.accounts, auth); err != nil {
		return nil, Errorf(CodeOf(fromIdentity(err)), "%s: %w", t.source, err)
	}
	auth.Signer = "token"
	t.last.Store(auth)
	return auth, nil
}

// authorizationForToken returns the answer with a Bearer token from a file, a variable or a
// command.
func authorizationForToken(token string) (*Authorization, error) {
	if strings.ContainsAny(token, " \t") {
		return nil, errors.New("it has spaces; it must be a token alone, without Bearer before it")
	}
	return authorizationFor("Bearer " + token)
}

// Renew implements [Renewer], with the token that the file or variable holds by now.
func (t *Token) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	auth, err := t.Sign(ctx, r)
	if err == nil && auth.Value == refused.Value {
		return nil, errNotRenewable
	}
	return auth, err
}

// authorizationFor returns the answer with value, from a file, a variable or a command, in
// the Authorization field. The claims of a ChatGPT access token name its account.
func authorizationFor(value string) (*Authorization, error) {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, errors.New("it has characters that a header may not have; it must be one line of ASCII")
	}
	if IsPlaceholder(value) {
		return nil, errors.New("it is agentproxy's own placeholder; a credential is needed")
	}
	auth := &Authorization{Value: identity.Secret(value), Scheme: SchemeOther}
	if scheme, _, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Bearer") {
		auth.Scheme = SchemeBearer
		if claims, err := identity.ParseClaims(trimScheme(value)); err == nil {
			auth.AccountID = claims.WorkspaceID
			auth.FedRAMP = claims.FedRAMP
		}
	}
	return auth, nil
}
