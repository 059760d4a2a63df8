package identity

import (
	"fmt"
	"strings"
	"time"
)

// Session holds what an assertion is made with.
type Session struct {
	Identity *Identity
	Task     Task
	// ClockOffset is how far the backend's clock is ahead of this machine's.
	ClockOffset time.Duration
}

// AccessToken is a Bearer token and the account that it belongs to.
type AccessToken struct {
	Value   Secret
	Account Account
}

// Format implements fmt.Formatter without showing a secret.
func (t AccessToken) Format(f fmt.State, verb rune) {
	type plain AccessToken
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(t))
}

// IsWorkspaceToken reports whether token is an access token of a workspace, which Codex
// calls a personal access token. Such a token holds no claims, does not expire, and
// cannot be refreshed.
func IsWorkspaceToken(token Secret) bool { return strings.HasPrefix(string(token), "at-") }

// HeaderSafe reports whether s is visible ASCII throughout, as the value of a header
// field that holds an id or a token must be.
func HeaderSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// TokenSet holds the tokens of a log-in. In the answer to a refresh an empty one is left
// as it was.
type TokenSet struct {
	IDToken, AccessToken, RefreshToken Secret
}

// Format implements [fmt.Formatter] without showing a secret.
func (t TokenSet) Format(f fmt.State, verb rune) {
	type plain TokenSet
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(t))
}

// PlaceholderMark stands in a placeholder where a JWT has its signature, and for its
// refresh token.
const PlaceholderMark = "agentproxy-placeholder"

// IsPlaceholder reports whether token, an access, id or refresh token, is from a
// placeholder and no credential.
func IsPlaceholder(token string) bool {
	return token == PlaceholderMark || strings.HasSuffix(token, "."+PlaceholderMark)
}
