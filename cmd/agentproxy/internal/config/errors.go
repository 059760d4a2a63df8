package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is a mistake in the configuration. Its message says where the mistake is, what
// it is and what to write instead. The program ends with exit code 2.
type Error struct {
	Where        string // the file, with a line where one is known
	Line, Column int    // from 1 on, 0 if they are not known
	Err          error

	key string // that it is about, "" if that is not known
}

// fault returns a mistake that has no line, as all that load finds.
func fault(where string, err error) []*Error { return []*Error{{Where: where, Err: err}} }

func sortByLine(wrong []*Error) {
	slices.SortStableFunc(wrong, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
}

// Place returns where the mistake is: FILE:LINE:COLUMN, or what is known of that.
func (e *Error) Place() string {
	if e.Column == 0 {
		return e.Where
	}
	return fmt.Sprintf("%s:%d", e.Where, e.Column)
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

// below returns err with the keys that it is about put beneath another key.
func below(prefix string, err error) error {
	var m mistakes
	for _, err := range each(err) {
		if e, ok := errors.AsType[*keyError](err); ok {
			key := e.key
			if key != "" && !strings.HasPrefix(key, "[") {
				key = "." + key
			}
			err = &keyError{prefix + key, e.err}
		}
		m.add(err)
	}
	return m.err()
}
