// Package contain has a panic be the error of those who wait for the work. On a goroutine of
// its own it would end the program.
package contain

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// PanicError is the error of work that has panicked. It holds no secret: of the value that the
// work has panicked with, it has no more than the type, unless that is an error of the runtime.
type PanicError struct {
	what  string
	stack []byte
	told  bool
}

// Error implements [error].
func (e *PanicError) Error() string {
	return "agentproxy has made a mistake (" + e.what + "); please report it with the stack in its log"
}

// Stack returns the stack of the goroutine that has panicked.
func (e *PanicError) Stack() string { return string(e.stack) }

// Call calls work. If that panics, it calls tell, unless that is nil, and returns a
// [*PanicError].
func Call[T any](tell func(*PanicError), work func() (T, error)) (v T, err error) {
	defer Recover(tell, &err)
	return work()
}

// Do calls work. If that panics, it calls tell.
func Do(tell func(*PanicError), work func()) {
	var err error
	defer Recover(tell, &err)
	work()
}

// Recover must be deferred by a function whose error err is. If that panics, it calls tell,
// unless that is nil, and the error is a [*PanicError].
func Recover(tell func(*PanicError), err *error) {
	value := recover()
	if value == nil {
		return
	}
	e := &PanicError{describe(value), debug.Stack(), tell != nil}
	if tell != nil {
		tell(e)
	}
	*err = e
}

// Tell calls tell if err is a [*PanicError] that nobody was told of.
func Tell(tell func(*PanicError), err error) {
	if e, ok := errors.AsType[*PanicError](err); ok && !e.told {
		tell(e)
	}
}

// describe returns what a panic is about.
func describe(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a panic with a %T", value)
}
