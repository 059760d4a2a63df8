package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Keyring is a [Store] in the system's keyring: the Secret Service on
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

// NewKeyring returns the store of the proxy whose state is in stateDir. Each such
// directory has an entry of its own.
func NewKeyring(stateDir string) *Keyring {
	return &Keyring{user: "identity|" + safefile.PathID(stateDir)}
}

// String returns the name of the entry.
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
	return parse(s.String(), []byte(raw), remedyKept)
}

// ReadOnly implements [Store].
func (s *Keyring) ReadOnly() error { return nil }

// Version implements [Store]. A keyring does not report the changes of other
// processes, so that the version changes every 10 seconds.
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
	aside := asideName(s.user, at, func(user string) bool { _, err := keyring.Get(keyringService, user); return err == nil })
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
