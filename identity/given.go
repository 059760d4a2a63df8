package identity

import (
	"errors"
	"fmt"
	"time"
)

// GivenFile is a store that somebody else fills, such as a secret that is mounted
// into a container. It is never written, and read anew when it has changed.
type GivenFile struct{ path string }

// NewGivenFile returns the store that is the file at path, in any form that
// [ParseRecord] reads.
func NewGivenFile(path string) *GivenFile { return &GivenFile{path} }

// String returns the path.
func (s *GivenFile) String() string { return s.path }

// Load implements [Store].
func (s *GivenFile) Load() (*Record, error) {
	raw, err := readPrivate(s.path)
	if errors.Is(err, ErrNoIdentity) {
		return nil, fmt.Errorf("%w there; put one there, or leave identity.file out", err)
	}
	if err != nil {
		return nil, err
	}
	record, err := ParseRecord(raw)
	if err != nil {
		e := fileError(s.path, raw, err)
		e.Remedy = "put there what agentproxy identity export prints"
		return nil, e
	}
	return record, nil
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
