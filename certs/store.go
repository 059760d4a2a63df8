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
type store struct {
	dir  string
	ca   pair
	next pair // the prepared CA
}

func newStore(dir string) (store, error) {
	if dir == "" {
		return store{}, errors.New("no directory for the CA; set state_dir")
	}
	return store{
		dir:  dir,
		ca:   pair{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"), rotate},
		next: pair{filepath.Join(dir, "next.pem"), filepath.Join(dir, "next-key.pem"), prepareAgain},
	}, nil
}

// lockStore makes the store in dir and waits for its lock.
func lockStore(dir string) (s store, unlock func(), err error) {
	if s, err = newStore(dir); err != nil {
		return s, nil, err
	}
	unlock, err = s.lock()
	return s, unlock, err
}

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

// write writes the key of a CA, and then its certificate, of which there must be none. The
// caller holds the lock.
func (s store) write(p pair, certPEM, keyPEM []byte) error {
	s.sweep()
	if err := safefile.Write(p.key, keyPEM, 0o600); err != nil {
		return fmt.Errorf("write %s: %w; %s", p.key, err, writable)
	}
	if err := safefile.Write(p.cert, certPEM, 0o644); err != nil {
		return fmt.Errorf("write %s: %w; %s", p.cert, err, writable)
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
	if _, err := os.Lstat(s.ca.cert); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for ; ; now = now.Add(time.Second) { // one name a rotation
		retired := filepath.Join(s.dir, "ca-"+now.UTC().Format("20060102T150405Z")+".pem")
		if _, err := os.Lstat(retired); err == nil {
			continue
		}
		if err := os.Rename(s.ca.cert, retired); err != nil {
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
