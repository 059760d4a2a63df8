package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// mistakes collects mistakes in the values of keys, so that all of them can be told at once.
type mistakes []error

// add adds the mistakes in err, which may be nil. One that is known is not added again: keys
// of the whole configuration are checked for each agent.
func (m *mistakes) add(err error) {
	for _, e := range each(err) {
		if !slices.ContainsFunc(*m, func(known error) bool { return known.Error() == e.Error() }) {
			*m = append(*m, e)
		}
	}
}

// wrong adds a mistake in the value of key with a formatted message.
func (m *mistakes) wrong(key, format string, args ...any) { m.add(wrong(key, format, args...)) }

// oneOf adds a mistake in the value of key if it is none of the words.
func (m *mistakes) oneOf(key, value string, words ...string) {
	m.add(at(key, checkWord(value, words...)))
}

// checkWord returns an error if value is none of the words.
func checkWord(value string, words ...string) error {
	switch {
	case slices.Contains(words, value):
		return nil
	case len(words) == 2:
		return fmt.Errorf("%q is neither %s nor %s", value, words[0], words[1])
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(words, ", "))
}

// duration returns the time that the value of key is, and adds a mistake if it is none. It
// then returns one that is wrong about nothing else.
func (m *mistakes) duration(key, value string) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil {
		m.wrong(key, "%q is not a time such as 30s or 5m", value)
		return time.Minute
	}
	return d
}

// err returns the mistakes as one error, nil if there is none.
func (m mistakes) err() error { return errors.Join(m...) }

// each returns the errors that err joins, or err alone.
func each(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return []error{err}
}

// element returns the key of an element of the list at key.
func element(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }
