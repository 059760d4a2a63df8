package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// File is a [Store] that is a file of mode 0600.
type File struct{ path string }

// NewFile returns the store that is the file at path.
func NewFile(path string) *File { return &File{path} }

// String returns the path.
func (s *File) String() string { return s.path }

// Load implements [Store].
func (s *File) Load() (*identity.Record, error) {
	raw, err := read(s.path, remedyKept)
	if err != nil {
		return nil, err
	}
	return parse(s.path, raw, remedyKept)
}

// ReadOnly implements [Store].
func (s *File) ReadOnly() error { return nil }

// Version implements [Store].
func (s *File) Version() Version { return versionOf(s.path) }

// versionOf returns the version of the file at path, links followed.
func versionOf(path string) Version {
	info, err := os.Stat(path)
	if err != nil {
		return Version{}
	}
	return Version{info.ModTime(), info.Size(), safefile.Inode(info)}
}

// Save implements [Store].
func (s *File) Save(record *identity.Record) error {
	err := os.MkdirAll(filepath.Dir(s.path), 0o700)
	if err == nil {
		err = safefile.Write(s.path, record.Encode(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the agent identity: %w", err)
	}
	return nil
}

// SetAside implements [Store]. A file that is too large for an identity is not copied
// but moved.
func (s *File) SetAside(at time.Time) (string, error) {
	place := asideName(s.path, at, func(path string) bool { _, err := os.Lstat(path); return err == nil })
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
