// Package credential puts credentials on requests and takes the client's off, and finds
// those of the proxy in responses.
package credential

import (
	"maps"
	"net/http"
	"slices"

	"github.com/agentproxy/agentproxy/signer"
)

// See Fields.
const (
	headerAuthorization = "Authorization"
	headerAccountID     = "Chatgpt-Account-Id"
	headerFedRAMP       = "X-Openai-Fedramp"
	// headerAssertion is to carry the credential of a third generation of the
	// protocol, headerBiscuit carries that of the first one's registrations.
	headerAssertion = "X-Openai-Agent-Assertion"
	headerBiscuit   = "X-Openai-Authorization"
)

// Fields returns the names of the header fields that carry a credential or belong to one,
// in the canonical form of net/http. No client decides their value.
func Fields() []string {
	return []string{headerAuthorization, headerAccountID, headerFedRAMP, headerAssertion, headerBiscuit}
}

// Authorize replaces the credentials in h by those of auth. The hop-by-hop fields
// must have been removed from h: otherwise a client that sends "Connection:
// Authorization" would have ours removed later.
func Authorize(h http.Header, auth *signer.Authorization) {
	if auth.PassThrough {
		dropPlaceholders(h)
		return
	}
	dropCredentials(h)
	auth.SetHeader(h)
}

// dropCredentials removes from h every field that carries a credential of the
// client's or belongs to one.
func dropCredentials(h http.Header) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return IsField(name) })
}

// IsField reports whether the field of that name carries a credential or
// belongs to one. Names that differ in "_" and "-" alone are the same to servers that
// hand fields on as variables (RFC 3875, section 4.1.18).
func IsField(name string) bool {
	for _, credential := range [...]string{headerAuthorization, headerAccountID, headerFedRAMP, headerAssertion, headerBiscuit} {
		if sameField(name, credential) {
			return true
		}
	}
	return false
}

// sameField reports whether two field names are the same but for case, and for "_"
// in place of "-".
func sameField(name, canonical string) bool {
	if len(name) != len(canonical) {
		return false
	}
	for i := range len(name) {
		c, want := name[i], canonical[i]
		if c == '_' {
			c = '-'
		}
		if c != want && (c|0x20 != want|0x20 || want|0x20 < 'a' || want|0x20 > 'z') {
			return false
		}
	}
	return true
}

// dropPlaceholders removes what a client was given to hold in place of a
// credential. It means nothing to any server.
func dropPlaceholders(h http.Header) {
	if slices.ContainsFunc(h[headerAuthorization], signer.IsPlaceholder) {
		delete(h, headerAuthorization)
		return
	}
}
