package signer

import (
	"errors"

	"github.com/agentproxy/agentproxy/identity"
)

// fromIdentity makes an [*Error] of what package identity reports.
func fromIdentity(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	code := NoIdentity
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
	return &Error{Code: code, Message: err.Error(), Err: err}
}
