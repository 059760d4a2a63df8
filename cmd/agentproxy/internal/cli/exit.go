// Package cli holds what every command shares: exit codes and the errors that end
// the program with them, the environment, the terminal and the version.
package cli

import (
	"errors"
	"fmt"
	"syscall"
)

// The exit codes. run ends with the code of its command instead.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2 // wrong usage or configuration
)

// ExitError ends the program with an exit code and no message.
type ExitError int

// Error implements the error interface.
func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// UsageError is a mistake on the command line. The program ends with ExitUsage.
type UsageError struct{ err error }

// Error implements the error interface.
func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.err }

// Usagef returns a UsageError with a formatted message.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// SyscallError returns the system's error in err, or err if there is none.
func SyscallError(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}
