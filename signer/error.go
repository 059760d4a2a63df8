package signer

import (
	"errors"
	"fmt"
)

// Code is the reason why a request was not signed, in one word. Codes are sent to clients,
// written to logs and documented: they do not change.
type Code string

// The codes.
const (
	NoLogin       Code = "no_login"       // there is no auth.json, or nobody is logged in
	LoginUnread   Code = "login_unread"   // auth.json cannot be understood
	APIKeyLogin   Code = "api_key_login"  // auth.json holds an API key, which is not for ChatGPT
	NoIdentity    Code = "no_identity"    // no agent identity is stored
	WrongAccount  Code = "wrong_account"  // what is stored belongs to another workspace or user
	BadIdentity   Code = "bad_identity"   // the stored identity cannot be used
	NoTask        Code = "no_task"        // the identity has no task yet
	TokenExpired  Code = "token_expired"  // the access token has expired
	TokenMissing  Code = "token_missing"  // the configured token is not there
	CommandFailed Code = "command_failed" // the configured command gave no credential

	RuleRefused    Code = "rule_refused"    // a rule of the configuration refuses the request
	AmbiguousPath  Code = "ambiguous_path"  // a rule might be got round by this spelling of the path
	BiscuitRefused Code = "biscuit_refused" // the configuration gives no token to make an agent with
)

// Error says why a request was not signed.
type Error struct {
	Code Code
	// Message names the cause and the remedy, for people. It holds no secret.
	Message string
	// Err is the cause, where there is one.
	Err error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [*Error] with a formatted message. The %w verb sets its cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf returns the code of err, or "" if err is not from a signer.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
