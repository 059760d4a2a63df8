package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// The remedies that recur in errors.
const (
	rotate   = "run: agentproxy ca rotate"
	writable = "make the directory writable, or set state_dir to one that is"
)

// store is the directory of a CA.
//
// Only a certificate and its key together are a CA. Every writer holds the lock and keeps
// this order: move a former certificate away, replace the key, add the certificate. While a
// certificate is there, its key does not change. A writer that is killed in between leaves no
// certificate, that is no CA, or the prepared one, which is then put in its place.
type store struct{ dir string }

func newStore(dir string) (store, error) {
	if dir == "" {
		return store{}, errors.New("no directory for the CA; set state_dir")
	}
	return store{dir}, nil
}

// lockStore makes the store in dir and waits for its lock.
func lockStore(dir string) (s store, unlock func(), err error) {
	if s, err = newStore(dir); err != nil {
		return s, nil, err
	}
	unlock, err = s.lock()
	return s, unlock, err
}

func (s store) cert() string { return filepath.Join(s.dir, "ca.pem") }
func (s store) key() string  { return filepath.Join(s.dir, "ca-key.pem") }

// lock makes the directory and waits for its lock.
func (s store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; %s", err, writable)
	}
	if err := checkDir(s.dir); err != nil {
		return nil, err
	}
	unlock, err = safefile.Lock(context.Background(), filepath.Join(s.dir, "ca.lock"))
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, writable)
	}
	return unlock, nil
}

// read returns the two files of the CA. If there is no certificate, the error wraps
// [fs.ErrNotExist].
func (s store) read() (certPEM, keyPEM []byte, err error) {
	if _, err := os.Stat(s.cert()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("read %s: %w; agentproxy serve makes a CA when it first starts", s.cert(), fs.ErrNotExist)
	}
	if err := checkDir(s.dir); err != nil {
		return nil, nil, err
	}
	certPEM, err = readFile(s.cert(), safefile.OthersWrite)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(s.key()); errors.Is(err, fs.ErrNotExist) {
		// Not ErrNotExist: the certificate may be trusted somewhere.
		return nil, nil, fmt.Errorf("read %s: no such file, though %s is there; restore it, or %s", s.key(), s.cert(), rotate)
	}
	keyPEM, err = readFile(s.key(), safefile.BeyondOwner)
	if err != nil {
		return nil, nil, err
	}
	// The key belongs to the certificate if that is still the same. Otherwise the CA was
	// rotated meanwhile.
	if !holds(s.cert(), certPEM) {
		return s.read()
	}
	return certPEM, keyPEM, nil
}

// write adds a CA to a directory without a certificate. The caller holds the lock.
func (s store) write(certPEM, keyPEM []byte) error {
	return s.writePair(s.cert(), certPEM, s.key(), keyPEM)
}

// writePair writes a key, and then its certificate. The caller holds the lock.
func (s store) writePair(cert string, certPEM []byte, key string, keyPEM []byte) error {
	s.sweep()
	if err := safefile.Write(key, keyPEM, 0o600); err != nil {
		return fmt.Errorf("write %s: %w; %s", key, err, writable)
	}
	if err := safefile.Write(cert, certPEM, 0o644); err != nil {
		return fmt.Errorf("write %s: %w; %s", cert, err, writable)
	}
	return nil
}

// sweep removes the temporary files of writers that were killed. Even a key that was never
// used is a key.
func (s store) sweep() {
	entries, _ := os.ReadDir(s.dir)
	for _, entry := range entries {
		name := entry.Name()
		if slices.ContainsFunc([]string{".ca.pem", ".ca-key.pem", ".next.pem", ".next-key.pem"},
			func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			os.Remove(filepath.Join(s.dir, name))
		}
	}
}

// retire moves the certificate away, if there is one, and returns its new path. The caller
// holds the lock.
func (s store) retire(now time.Time) (string, error) {
	if _, err := os.Lstat(s.cert()); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for ; ; now = now.Add(time.Second) { // one name a rotation
		retired := filepath.Join(s.dir, "ca-"+now.UTC().Format("20060102T150405Z")+".pem")
		if _, err := os.Lstat(retired); err == nil {
			continue
		}
		if err := os.Rename(s.cert(), retired); err != nil {
			return "", fmt.Errorf("%w; %s", err, writable)
		}
		return retired, nil
	}
}

// holds reports whether the content of the file at path is pem.
func holds(path string, pem []byte) bool {
	data, err := safefile.Read(path, maxFileSize)
	return err == nil && bytes.Equal(data, pem)
}

// maxFileSize bounds a file of the CA, in bytes.
const maxFileSize = 1 << 20

// readFile reads a file that must have none of the permissions in tooWide.
func readFile(path string, tooWide fs.FileMode) ([]byte, error) {
	data, err := safefile.ReadPrivate(path, maxFileSize, tooWide)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

// checkDir reports an error if others may write to the directory.
func checkDir(dir string) error {
	if err := safefile.CheckPath(dir, safefile.OthersWrite); err != nil {
		return unreadable(dir, err)
	}
	return nil
}

// unreadable says why a file cannot be read and what to do about it.
func unreadable(path string, err error) error {
	err = safefile.Cause(err)
	remedy := "; this user must be able to read it"
	if _, mode := errors.AsType[*safefile.ModeError](err); mode {
		remedy = "" // the error has one
	} else if errors.Is(err, safefile.ErrNotRegular) || errors.Is(err, safefile.ErrTooLarge) {
		remedy = "; move it away and " + rotate
	}
	return fmt.Errorf("read %s: %w%s", path, err, remedy)
}
