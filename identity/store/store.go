// Package store keeps the agent identity that agentproxy has registered, or reads one
// that another program gives.
//
// A [File] is the usual place, a [Keyring] the one for desktops. A [ReadOnly] file is
// for containers, into which secrets are mounted. Each keeps one
// [identity.Record], private key included; [Store.Version] tells a caller that holds a
// record when to load it again.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Store keeps one agent identity. Implementations are safe for concurrent use.
type Store interface {
	// Load returns the record. The error wraps [identity.ErrNoIdentity] if there is
	// none, and is a [*identity.FileError] if there is one that cannot be understood.
	Load() (*identity.Record, error)
	// Save keeps record, which replaces what was there.
	Save(record *identity.Record) error
	// SetAside copies the record to another place, whose name has the time at, before
	// Save replaces it. It returns that place, "" if there is no record.
	SetAside(at time.Time) (place string, err error)
	// Remove deletes the record, if there is one.
	Remove() error
	// Version changes whenever the record may have changed.
	Version() Version
	// ReadOnly returns an error that says why nothing is ever written, nil if it is.
	ReadOnly() error
	// String returns the place of the record, for people.
	String() string
}

// Version tells one state of a [Store] from the next.
type Version struct {
	changed time.Time
	size    int64
	file    uint64 // its inode, or how often a keyring was written
}

var (
	_ Store = (*File)(nil)
	_ Store = (*ReadOnly)(nil)
	_ Store = (*Keyring)(nil)
)

// maxStoredBytes bounds a file that holds an identity.
const maxStoredBytes = 1 << 20

// remedyKept is what to do about an identity of ours that cannot be understood.
const remedyKept = "it is moved aside when a new identity is registered; run: agentproxy identity register"

// read returns the content of a file that is to hold an identity. If there is no file,
// the error wraps [identity.ErrNoIdentity]. If it is too large, the error is a
// [*identity.FileError] with the remedy.
func read(path, remedy string) ([]byte, error) {
	raw, err := safefile.ReadPrivate(path, maxStoredBytes, safefile.BeyondOwner)
	_, mode := errors.AsType[*safefile.ModeError](err)
	switch {
	case err == nil:
		return raw, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, identity.ErrNoIdentity)
	case errors.Is(err, safefile.ErrTooLarge):
		return nil, &identity.FileError{Path: path, Reason: safefile.Cause(err).Error() + ", not an agent identity", Remedy: remedy, Err: err}
	case errors.Is(err, safefile.ErrNotRegular):
		return nil, fmt.Errorf("%s: %w; put a file there, or nothing", path, safefile.Cause(err))
	case mode:
		return nil, fmt.Errorf("%s: %w", path, safefile.Cause(err))
	}
	return nil, fmt.Errorf("the agent identity cannot be read: %w; let the user who runs agentproxy read %s", err, path)
}

// parse parses what the place called name holds. The error is a [*identity.FileError]
// with the remedy.
func parse(name string, raw []byte, remedy string) (*identity.Record, error) {
	record, err := identity.ParseRecord(raw)
	if err != nil {
		return nil, identity.NewFileError(name, raw, err, remedy)
	}
	return record, nil
}

// asideFormat marks what was set aside with the time of that. It sorts, and is valid in
// the names of files on every system.
const asideFormat = "20060102T150405.000Z"

// asideName returns the name under which what is called name is set aside. There is
// nothing of that name yet, as far as taken tells.
func asideName(name string, at time.Time, taken func(string) bool) string {
	stamped := name + "." + at.UTC().Format(asideFormat)
	aside := stamped
	for i := 2; taken(aside); i++ {
		aside = fmt.Sprintf("%s-%d", stamped, i)
	}
	return aside
}
