package proxy

import (
	"errors"
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/signer"
)

const (
	// redactedValue replaces a value in which a credential of ours was found.
	redactedValue = "[redacted by agentproxy]"

	// minRedacted is the least length, in bytes, of a credential that is looked for
	// within other text. A shorter one would be found by chance.
	minRedacted = 16
)

// redact removes from the header of a response every value that carries a
// credential which was put on the request: a server that echoes the request would
// hand it to the client. It does not look at bodies, which must stay streams.
func (x *exchange) redact(h http.Header) {
	x.redactOf(h, x.auth)
	x.redactOf(h, x.former)
}

func (x *exchange) redactOf(h http.Header, auth *signer.Authorization) {
	if auth == nil || auth.Value == "" {
		return
	}
	value := auth.Value.Reveal()
	token := credentialOf(value)
	for name, values := range h {
		for i, v := range values {
			if !carries(v, value, token) {
				continue
			}
			values[i] = redactedValue
			x.warnEcho(name)
		}
		// Field names lose their case on the way, and a token may have none.
		if len(name) >= len(token) && len(token) >= minRedacted && strings.Contains(strings.ToLower(name), strings.ToLower(token)) {
			delete(h, name)
			x.warnEcho(redactedValue)
		}
	}
}

// redactText returns s, which quotes a server, without our credentials.
func (x *exchange) redactText(s string) string {
	for _, auth := range [...]*signer.Authorization{x.auth, x.former} {
		if auth == nil || auth.Value == "" {
			continue
		}
		if value := auth.Value.Reveal(); carries(s, value, credentialOf(value)) {
			x.warnEcho("")
			s = strings.ReplaceAll(s, credentialOf(value), redactedValue)
		}
	}
	return s
}

// redactError returns err, which may quote a server, without our credentials.
func (x *exchange) redactError(err error) error {
	text := err.Error()
	if redacted := x.redactText(text); redacted != text {
		return errors.New(redacted)
	}
	return err
}

// warnEcho logs that a server has sent a credential back, in the header field of
// that name or, if it is empty, elsewhere.
func (x *exchange) warnEcho(field string) {
	event := x.policy.Log.Warn().Str("host", x.target.Authority())
	if field != "" {
		event.Str("header", field)
	}
	event.Msg("the server sent the credential of the request back; it was removed from the answer")
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

// credentialOf returns the value of an Authorization field without its scheme.
func credentialOf(value string) string {
	if _, credential, ok := strings.Cut(value, " "); ok && credential != "" {
		return credential
	}
	return value
}
