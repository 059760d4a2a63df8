package proxy

import (
	"errors"
	"net/http"

	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/signer"
)

// Redact removes from the header of a response every value that carries a
// credential which was put on the request: a server that echoes the request would
// hand it to the client. It does not look at bodies, which must stay streams.
func (x *exchange) Redact(h http.Header) {
	credential.Redact(h, x.auth, x)
	credential.Redact(h, x.former, x)
}

// redactText returns s, which quotes a server, without our credentials.
func (x *exchange) redactText(s string) string {
	for _, auth := range [...]*signer.Authorization{x.auth, x.former} {
		redacted, found := credential.RedactText(s, auth)
		if found {
			x.WarnEcho("")
		}
		s = redacted
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

// WarnEcho logs that a server has sent a credential back, in the header field of
// that name or, if it is empty, elsewhere.
func (x *exchange) WarnEcho(field string) {
	event := x.policy.Log.Warn().Str("host", x.target.Authority())
	if field != "" {
		event.Str("header", field)
	}
	event.Msg("the server sent the credential of the request back; it was removed from the answer")
}
