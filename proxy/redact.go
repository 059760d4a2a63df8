package proxy

import (
	"errors"
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/signer"
)

const (
	// redactedValue stands in the place of what held a credential of ours.
	redactedValue = "[redacted by agentproxy]"

	// minRedacted is the length, in bytes, from which on a credential is looked
	// for within other text. A shorter one would be found by chance.
	minRedacted = 16
)

// redact removes from the header of an answer what carries a credential back
// that was put on the exchange's request: a server that echoes what it was sent
// would hand it to the client. Bodies are not looked at, for streams must stay
// streams.
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
		// Header names lose their case on the way, and a token may have none.
		if len(name) >= len(token) && len(token) >= minRedacted && strings.Contains(strings.ToLower(name), strings.ToLower(token)) {
			delete(h, name)
			x.warnEcho(redactedValue)
		}
	}
}

// redactText is redact for a text that quotes what a server has sent.
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

// redactError is redactText for an error that a server has caused.
func (x *exchange) redactError(err error) error {
	text := err.Error()
	if redacted := x.redactText(text); redacted != text {
		return errors.New(redacted)
	}
	return err
}

// carries reports whether s holds a credential, as the value of Authorization or
// without its scheme.
func carries(s, value, token string) bool {
	if len(s) < len(token) {
		return false // so it is with nearly every header
	}
	if len(token) < minRedacted {
		return s == value || s == token
	}
	return strings.Contains(s, token)
}

// credentialOf returns the value of an Authorization header without its scheme.
func credentialOf(value string) string {
	if _, credential, ok := strings.Cut(value, " "); ok && credential != "" {
		return credential
	}
	return value
}

// warnEcho tells that a server has sent a credential back, in the header of that
// name or, if that is empty, elsewhere.
func (x *exchange) warnEcho(header string) {
	event := x.warnings.Warn().Str("host", x.target.Authority())
	if header != "" {
		event.Str("header", header)
	}
	event.Msg("the server sent the credential of the request back; it was removed from the answer")
}
