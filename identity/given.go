package identity

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"
)

// GivenFile is a store that somebody else fills, such as a secret that is mounted
// into a container. It is never written, and read anew when it has changed.
type GivenFile struct {
	path string

	mu    sync.Mutex
	seen  StoreVersion // of which token is
	token Secret
}

// NewGivenFile returns the store that is the file at path, in any form that
// [ParseRecord] reads. It may hold an access token of a workspace instead.
func NewGivenFile(path string) *GivenFile { return &GivenFile{path: path} }

// String returns the path.
func (s *GivenFile) String() string { return s.path }

// Load implements [Store].
func (s *GivenFile) Load() (*Record, error) {
	const remedy = "put there what agentproxy identity export prints"
	raw, err := readStored(s.path, remedy)
	if errors.Is(err, ErrNoIdentity) {
		return nil, fmt.Errorf("%w there; put one there, or leave identity.file out", err)
	}
	if err != nil {
		return nil, err
	}
	if IsWorkspaceToken(Secret(bytes.TrimSpace(raw))) {
		return nil, fmt.Errorf("%s: %w", s.path, ErrTokenLogin)
	}
	return parseStored(s.path, raw, remedy)
}

// AccessToken returns the access token of a workspace that the file holds in place of
// an identity, "" if it holds none.
func (s *GivenFile) AccessToken() (Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version := s.Version()
	if version == s.seen && version != (StoreVersion{}) {
		return s.token, nil
	}
	raw, err := readStored(s.path, "")
	if _, tooLarge := errors.AsType[*FileError](err); tooLarge || errors.Is(err, ErrNoIdentity) {
		return "", nil // Load reports it
	}
	if err != nil {
		return "", err
	}
	s.seen, s.token = version, ""
	if token := Secret(bytes.TrimSpace(raw)); IsWorkspaceToken(token) {
		s.token = token
	}
	return s.token, nil
}

// Version implements [Store]. Links are followed, so that it changes when they
// come to lead elsewhere.
func (s *GivenFile) Version() StoreVersion { return versionOf(s.path) }

// ReadOnly implements [Store].
func (s *GivenFile) ReadOnly() error {
	return fmt.Errorf("the agent identity is given by %s, which is never written; replace that file, or leave identity.file out", s.path)
}

// Save implements [Store].
func (s *GivenFile) Save(*Record) error { return s.ReadOnly() }

// SetAside implements [Store].
func (s *GivenFile) SetAside(time.Time) (string, error) { return "", s.ReadOnly() }

// Remove implements [Store].
func (s *GivenFile) Remove() error { return s.ReadOnly() }
