package message

import (
	"errors"
	"fmt"
)

// Error is an error whose words are all of this program's, so that they may be shown. What
// net/http says of a message that it cannot read quotes it: it may be anything, a credential
// included.
type Error struct{ err error }

// Errorf returns an [Error] with the text that [fmt.Errorf] makes. The caller answers for
// args.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Error implements [error].
func (e Error) Error() string { return e.err.Error() }

// Unwrap returns the error that was given for %w.
func (e Error) Unwrap() error { return errors.Unwrap(e.err) }
