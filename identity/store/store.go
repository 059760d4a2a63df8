package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Store keeps the one agent identity that agentproxy registered or was given.
type Store interface {
	// Load returns the record. The error wraps [identity.ErrNoIdentity] if there is
	// none, and is a [*identity.FileError] if there is one that cannot be understood.
	Load() (*identity.Record, error)
	// Save keeps record, which replaces what was there.
	Save(record *identity.Record) error
	// SetAside copies what is there to another place, named by the given moment,
	// before Save replaces it. It returns that place, "" if nothing is there.
	SetAside(at time.Time) (place string, err error)
	// Remove deletes what is there.
	Remove() error
	// Version changes when what is there may have changed.
	Version() Version
	// ReadOnly says why nothing is ever written here, nil if it is.
	ReadOnly() error
	// String says to people where the record is kept.
	String() string
}

// StoreVersion tells one state of a [Store] from the next.
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

// asideFormat marks what was set aside with the time of that. It sorts, and no
// file system minds it.
const asideFormat = "20060102T150405.000Z"

// FileStore keeps the record in a file of mode 0600.
type File struct{ path string }

// NewFileStore returns the store that is the file at path.
func NewFile(path string) *File { return &File{path} }

// String returns the path.
func (s *File) String() string { return s.path }

// Load implements [Store].
func (s *File) Load() (*identity.Record, error) {
	raw, err := readStored(s.path, remedyStored)
	if err != nil {
		return nil, err
	}
	return parseStored(s.path, raw, remedyStored)
}

// ReadOnly implements [Store].
func (s *File) ReadOnly() error { return nil }

// maxStoredBytes bounds a file that holds an identity.
const maxStoredBytes = 1 << 20

// remedyStored is what to do about an identity of ours that cannot be understood.
const remedyStored = "it is moved aside when a new identity is registered; run: agentproxy identity register"

// readStored reads a file that holds an identity. If there is none, the error wraps
// [identity.ErrNoIdentity], and if it is too large for one it is a [*identity.FileError] with the remedy.
func readStored(path, remedy string) ([]byte, error) {
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

func parseStored(name string, raw []byte, remedy string) (*identity.Record, error) {
	record, err := identity.ParseRecord(raw)
	if err != nil {
		return nil, identity.NewFileError(name, raw, err, remedy)
	}
	return record, nil
}

// Version implements [Store].
func (s *File) Version() Version { return versionOf(s.path) }

func versionOf(path string) Version {
	info, err := os.Stat(path)
	if err != nil {
		return Version{}
	}
	return Version{info.ModTime(), info.Size(), safefile.Inode(info)}
}

// Save implements [Store].
func (s *File) Save(record *identity.Record) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return fmt.Errorf("keep the agent identity: %w", err)
	}
	if err := safefile.Write(s.path, record.Encode(), 0o600); err != nil {
		return fmt.Errorf("keep the agent identity: %w", err)
	}
	return nil
}

// SetAside implements [Store]. A file that is too large for an identity is not copied
// but moved.
func (s *File) SetAside(at time.Time) (string, error) {
	stamped := s.path + "." + at.UTC().Format(asideFormat)
	place := stamped
	for i := 2; ; i++ {
		if _, err := os.Lstat(place); err != nil {
			break
		}
		place = fmt.Sprintf("%s-%d", stamped, i) // nothing is ever lost
	}
	raw, err := safefile.Read(s.path, maxStoredBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, safefile.ErrTooLarge):
		err = os.Rename(s.path, place)
	case err == nil:
		err = safefile.Write(place, raw, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("set the agent identity aside: %w", err)
	}
	return place, nil
}

// Remove implements [Store].
func (s *File) Remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the agent identity: %w", err)
	}
	return nil
}

// KeyringStore keeps the record in the system's keyring: the Secret Service on
// Linux, the Keychain on macOS, the Credential Manager on Windows.
type Keyring struct {
	user   string
	writes atomic.Uint64
}

// keyringInterval is how long a keyring is taken to be unchanged: asking it means asking
// another process.
const keyringInterval = 10 * time.Second

// keyringService names the entries of agentproxy in a keyring.
const keyringService = "agentproxy"

// NewKeyringStore returns the store for the proxy whose state is in stateDir:
// each such directory has an entry of its own.
func NewKeyring(stateDir string) *Keyring {
	return &Keyring{user: "identity|" + safefile.PathID(stateDir)}
}

// String says which entry of the keyring it is.
func (s *Keyring) String() string {
	return fmt.Sprintf("the system's keyring (service %s, account %s)", keyringService, s.user)
}

// Load implements [Store].
func (s *Keyring) Load() (*identity.Record, error) {
	raw, err := keyring.Get(keyringService, s.user)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", s, identity.ErrNoIdentity)
	}
	if err != nil {
		return nil, s.failed(err)
	}
	return parseStored(s.String(), []byte(raw), remedyStored)
}

// ReadOnly implements [Store].
func (s *Keyring) ReadOnly() error { return nil }

// Version implements [Store]. A keyring does not tell of changes that others
// make, so that it is looked at from time to time.
func (s *Keyring) Version() Version {
	return Version{changed: time.Now().Truncate(keyringInterval), file: s.writes.Load()}
}

// Save implements [Store].
func (s *Keyring) Save(record *identity.Record) error {
	defer s.writes.Add(1)
	if err := keyring.Set(keyringService, s.user, string(record.Encode())); err != nil {
		return s.failed(err)
	}
	return nil
}

// SetAside implements [Store].
func (s *Keyring) SetAside(at time.Time) (string, error) {
	raw, err := keyring.Get(keyringService, s.user)
	if errors.Is(err, keyring.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", s.failed(err)
	}
	stamped := s.user + "." + at.UTC().Format(asideFormat)
	aside := stamped
	for i := 2; ; i++ {
		if _, err := keyring.Get(keyringService, aside); err != nil {
			break
		}
		aside = fmt.Sprintf("%s-%d", stamped, i)
	}
	if err := keyring.Set(keyringService, aside, raw); err != nil {
		return "", s.failed(err)
	}
	return fmt.Sprintf("account %s of the keyring", aside), nil
}

// Remove implements [Store].
func (s *Keyring) Remove() error {
	defer s.writes.Add(1)
	if err := keyring.Delete(keyringService, s.user); err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return s.failed(err)
	}
	return nil
}

func (s *Keyring) failed(err error) error {
	return fmt.Errorf("%s: %w; unlock it, or set identity.store to state", s, err)
}
