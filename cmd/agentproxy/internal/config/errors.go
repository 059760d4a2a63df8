package config

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a mistake in the configuration. Its message says where the mistake is, what
// it is and what to write instead. The program ends with exit code 2.
type Error struct {
	Where string // the file, with a line where one is known
	Err   error
}

// Error implements the error interface.
func (e *Error) Error() string { return e.Where + ": " + e.Err.Error() }

// Unwrap returns the mistake.
func (e *Error) Unwrap() error { return e.Err }

// keyError is a mistake in the value of a key, whose place in the file is not known yet.
type keyError struct {
	key string
	err error
}

// Error implements the error interface.
func (e *keyError) Error() string { return e.key + ": " + e.err.Error() }

// Unwrap returns what is wrong.
func (e *keyError) Unwrap() error { return e.err }

// at returns err as the mistake in the value of key, nil if err is nil.
func at(key string, err error) error {
	if err == nil {
		return nil
	}
	return &keyError{key, err}
}

// wrong returns a mistake in the value of key with a formatted message.
func wrong(key, format string, args ...any) error {
	return &keyError{key, fmt.Errorf(format, args...)}
}

// below returns err with the key that it is about put beneath another key.
func below(prefix string, err error) error {
	e, ok := errors.AsType[*keyError](err)
	if !ok {
		return err
	}
	key := e.key
	if key != "" && !strings.HasPrefix(key, "[") {
		key = "." + key
	}
	return &keyError{prefix + key, e.err}
}

// element returns the key of an element of the list at key.
func element(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }
