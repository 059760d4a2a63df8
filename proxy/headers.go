package proxy

import (
	"net/http"

	"github.com/agentproxy/agentproxy/signer"
)

// The headers that carry a credential or belong to one, in the canonical form
// of net/http. No client decides their value.
const (
	headerAuthorization = "Authorization"
	headerAccountID     = "Chatgpt-Account-Id"
	headerFedRAMP       = "X-Openai-Fedramp"
	// headerAssertion is to carry the credential of a third generation of the
	// protocol, headerBiscuit has that of the first one's registrations.
	headerAssertion = "X-Openai-Agent-Assertion"
	headerBiscuit   = "X-Openai-Authorization"
)

// authorize replaces the credentials in h by those of auth. The hop-by-hop
// headers must be gone from h before: a client that sends "Connection:
// Authorization" would otherwise have the proxy strip what it has set.
func authorize(h http.Header, auth *signer.Authorization) {
	if auth.PassThrough {
		dropPlaceholders(h)
		return
	}
	dropCredentials(h)
	auth.SetHeader(h)
}

// dropCredentials removes from h all that carries a credential of the client's, or
// belongs to one.
func dropCredentials(h http.Header) {
	for name := range h {
		if isCredential(name) {
			delete(h, name)
		}
	}
}

// isCredential reports whether a header carries a credential or belongs to one.
// Names that differ in "_" and "-" alone are the same to servers that hand headers
// on as variables (RFC 3875, section 4.1.18).
func isCredential(name string) bool {
	for _, credential := range [...]string{headerAuthorization, headerAccountID, headerFedRAMP, headerAssertion, headerBiscuit} {
		if sameField(name, credential) {
			return true
		}
	}
	return false
}

// sameField reports whether two names of headers are the same but for case, and for
// "_" in place of "-".
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
	for _, value := range h[headerAuthorization] {
		if signer.IsPlaceholder(value) {
			delete(h, headerAuthorization)
			return
		}
	}
}

// keepForwarded puts back what httputil.ReverseProxy drops on its own account:
// what a client says about itself is not for this proxy to edit.
func keepForwarded(out, in http.Header) {
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := in[name]; ok {
			out[name] = values
		}
	}
}
