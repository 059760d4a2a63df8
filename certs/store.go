package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The remedies that recur in errors.
const (
	rotate   = "run: agentproxy ca rotate"
	writable = "make the directory writable, or set state_dir to one that is"
)

// store is the directory of a CA.
//
// Only a certificate and its key together are a CA. Every writer holds the
// lock and keeps this order: move a former certificate away, replace the key,
// add the certificate. So while a certificate is there its key does not change,
// and whoever is killed in between leaves no certificate, that is no CA, or the
// prepared one, which is then put in its place.
type store struct{ dir string }

func newStore(dir string) (store, error) {
	if dir == "" {
		return store{}, errors.New("no directory for the CA; set state_dir")
	}
	return store{dir}, nil
}

// lockStore returns the store in dir, which it makes, once nobody else writes
// there.
func lockStore(dir string) (s store, unlock func() error, err error) {
	if s, err = newStore(dir); err != nil {
		return s, nil, err
	}
	unlock, err = s.lock()
	return s, unlock, err
}

func (s store) cert() string { return filepath.Join(s.dir, "ca.pem") }
func (s store) key() string  { return filepath.Join(s.dir, "ca-key.pem") }

// lock makes the directory and waits for its lock.
func (s store) lock() (unlock func() error, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; %s", err, writable)
	}
	if err := checkMode(s.dir, 0o022, "go-w"); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.dir, "ca.lock"))
	if err := l.Lock(); err != nil {
		return nil, fmt.Errorf("%w; %s", err, writable)
	}
	return l.Unlock, nil
}

// read returns the two files of the CA, or an error that satisfies
// errors.Is(err, fs.ErrNotExist) if there is no certificate.
func (s store) read() (certPEM, keyPEM []byte, err error) {
	if _, err := os.Stat(s.cert()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("read %s: %w; agentproxy serve makes a CA when it first starts", s.cert(), fs.ErrNotExist)
	}
	if err := checkMode(s.dir, 0o022, "go-w"); err != nil {
		return nil, nil, err
	}
	certPEM, err = readFile(s.cert(), 0o022, "644")
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(s.key()); errors.Is(err, fs.ErrNotExist) {
		// Not ErrNotExist: the certificate may be trusted somewhere.
		return nil, nil, fmt.Errorf("read %s: no such file, though %s is there; restore it, or %s", s.key(), s.cert(), rotate)
	}
	keyPEM, err = readFile(s.key(), 0o077, "600")
	if err != nil {
		return nil, nil, err
	}
	// If the certificate is still the same, the key is the one that belongs
	// to it; else the CA was rotated meanwhile.
	if again, err := os.ReadFile(s.cert()); err != nil || !bytes.Equal(again, certPEM) {
		return s.read()
	}
	return certPEM, keyPEM, nil
}

// write adds a CA to a directory without a certificate. The caller holds the
// lock.
func (s store) write(certPEM, keyPEM []byte) error {
	s.sweep()
	if err := writeFile(s.key(), keyPEM, 0o600); err != nil {
		return fmt.Errorf("write %s: %w; %s", s.key(), err, writable)
	}
	if err := writeFile(s.cert(), certPEM, 0o644); err != nil {
		return fmt.Errorf("write %s: %w; %s", s.cert(), err, writable)
	}
	return nil
}

// sweep removes the temporary files of writers that were killed: a key that
// was never used is still a key.
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

// retire moves the certificate away, if there is one, and returns where to. The
// caller holds the lock.
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

// hasKey reports whether the key file is keyPEM.
func (s store) hasKey(keyPEM []byte) bool {
	data, err := os.ReadFile(s.key())
	return err == nil && bytes.Equal(data, keyPEM)
}

// readFile reads a file that must have none of the permissions in tooWide.
func readFile(path string, tooWide fs.FileMode, chmod string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a regular file; move it away and %s", path, rotate)
	}
	if err := checkMode(path, tooWide, chmod); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
}

// checkMode reports an error if the file or directory has any of the
// permissions in tooWide. What the superuser has given to this group to read, as
// secrets are mounted into containers, it may read. Windows keeps its permissions
// elsewhere.
func checkMode(path string, tooWide fs.FileMode, chmod string) error {
	info, err := os.Stat(path)
	if err != nil {
		return unreadable(path, err)
	}
	if isGiven(info) {
		tooWide &^= 0o040
	}
	if perm := info.Mode().Perm(); perm&tooWide != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("read %s: permissions %#o are too wide; run: chmod %s %s", path, perm, chmod, path)
	}
	return nil
}

// unreadable wraps an error of package os, which names the path already.
func unreadable(path string, err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("read %s: %w; this user must be able to read it", path, err)
}
