package credential

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/signer"
)

const (
	// Redacted replaces a value in which a credential of ours was found.
	Redacted = "[redacted by agentproxy]"

	// minRedacted is the least length, in bytes, of a credential that is looked for
	// within other text. A shorter one would be found by chance.
	minRedacted = 16
)

// A Warner is told that a server has sent a credential back, in the field of that name.
type Warner interface{ WarnEcho(field string) }

// Redact removes from h, the header of a response, every value that carries the credential
// of auth: a server that echoes the request would hand it to the client. It warns w of each
// field by its name, or by [Redacted] if the name carries the credential.
func Redact(h http.Header, auth *signer.Authorization, w Warner) {
	if auth == nil || auth.Value == "" {
		return
	}
	value := auth.Value.Reveal()
	token := tokenOf(value)
	for name, values := range h {
		for i, v := range values {
			if !carries(v, value, token) {
				continue
			}
			values[i] = Redacted
			w.WarnEcho(name)
		}
		// Field names lose their case on the way, and a token may have none.
		if len(name) >= len(token) && len(token) >= minRedacted && strings.Contains(strings.ToLower(name), strings.ToLower(token)) {
			delete(h, name)
			w.WarnEcho(Redacted)
		}
	}
}

// RedactText returns s without the credential of auth, and whether it was there.
func RedactText(s string, auth *signer.Authorization) (string, bool) {
	if auth == nil || auth.Value == "" {
		return s, false
	}
	value := auth.Value.Reveal()
	if !carries(s, value, tokenOf(value)) {
		return s, false
	}
	return strings.ReplaceAll(s, tokenOf(value), Redacted), true
}

// carries reports whether s holds a credential: the value of an Authorization
// field, or its token, which is the value without the scheme.
func carries(s, value, token string) bool {
	if len(s) < len(token) {
		return false // as nearly every field is
	}
	if len(token) < minRedacted {
		return s == value || s == token
	}
	return strings.Contains(s, token)
}

// tokenOf returns the value of an Authorization field without its scheme.
func tokenOf(value string) string {
	if _, credential, ok := strings.Cut(value, " "); ok && credential != "" {
		return credential
	}
	return value
}
