package store

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// ReadOnly is a [Store] that another program writes, such as a secret that is mounted
// into a container. It is read again when it has changed.
type ReadOnly struct {
	path string

	mu    sync.Mutex
	seen  Version // of the file that token is from
	token identity.Secret
}

// NewReadOnly returns the store that is the file at path, in any form that
// [identity.ParseRecord] reads. It may hold an access token of a workspace instead.
func NewReadOnly(path string) *ReadOnly { return &ReadOnly{path: path} }

// String returns the path.
func (s *ReadOnly) String() string { return s.path }

// Load implements [Store].
func (s *ReadOnly) Load() (*identity.Record, error) {
	const remedy = "put there what agentproxy identity export prints"
	raw, err := read(s.path, remedy)
	if errors.Is(err, identity.ErrNoIdentity) {
		return nil, fmt.Errorf("%w there; put one there, or leave identity.file out", err)
	}
	if err != nil {
		return nil, err
	}
	if identity.IsWorkspaceToken(identity.Secret(bytes.TrimSpace(raw))) {
		return nil, fmt.Errorf("%s: %w", s.path, identity.ErrTokenLogin)
	}
	return parse(s.path, raw, remedy)
}

// AccessToken returns the access token of a workspace that the file holds in place of
// an identity, "" if it holds none.
func (s *ReadOnly) AccessToken() (identity.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.Version()
	if version == s.seen && version != (Version{}) {
		return s.token, nil
	}
	raw, err := read(s.path, "")
	if _, tooLarge := errors.AsType[*identity.FileError](err); tooLarge || errors.Is(err, identity.ErrNoIdentity) {
		return "", nil // Load reports it
	}
	if err != nil {
		return "", err
	}
	s.seen, s.token = version, ""
	if token := identity.Secret(bytes.TrimSpace(raw)); identity.IsWorkspaceToken(token) {
		s.token = token
	}
	return s.token, nil
}

// Version implements [Store]. It changes also when a link comes to lead elsewhere.
func (s *ReadOnly) Version() Version { return versionOf(s.path) }

// ReadOnly implements [Store].
func (s *ReadOnly) ReadOnly() error {
	return fmt.Errorf("the agent identity is given by %s, which is never written; replace that file, or leave identity.file out", s.path)
}

// Save implements [Store].
func (s *ReadOnly) Save(*identity.Record) error { return s.ReadOnly() }

// SetAside implements [Store].
func (s *ReadOnly) SetAside(time.Time) (string, error) { return "", s.ReadOnly() }

// Remove implements [Store].
func (s *ReadOnly) Remove() error { return s.ReadOnly() }
