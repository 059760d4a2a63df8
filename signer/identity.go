package signer

import (
	"errors"

	"github.com/agentproxy/agentproxy/identity"
)

// fromIdentity returns err, of package identity or below, as an [*Error].
func fromIdentity(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	code, message := NoIdentity, err.Error()
	switch {
	case errors.Is(err, identity.ErrNoLogin), errors.Is(err, identity.ErrPlaceholder), errors.Is(err, identity.ErrNotChatGPT):
		code = NoLogin
	case errors.Is(err, identity.ErrAPIKey):
		code = APIKeyLogin
	case errors.Is(err, identity.ErrNoTask):
		code = NoTask
	case errors.Is(err, identity.ErrTokenExpired):
		code = TokenExpired
	case errors.Is(err, identity.ErrOtherWorkspace), errors.Is(err, identity.ErrOtherUser):
		code = WrongAccount
	case errors.Is(err, identity.ErrBadKey):
		code = BadIdentity
	default:
		if _, ok := errors.AsType[*identity.FileError](err); ok {
			code = LoginUnread
		}
	}
	if errors.Is(err, identity.ErrTaskRefused) {
		message += "; the log-in's token is not sent in its place: try again soon, or see what `agentproxy check` says"
	}
	return &Error{Code: code, Message: message, Err: err}
}
