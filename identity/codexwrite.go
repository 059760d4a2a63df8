package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockInterval is how often a lock that another process holds is tried.
const lockInterval = 10 * time.Millisecond

// Lock keeps other processes of agentproxy from changing the log-in until unlock is
// called. Codex knows nothing of it: its own locks are taken by [Home.Update].
//
// The lock is on the directory of auth.json, so that it needs no file of its own
// in Codex's home, and holds whoever replaces the file meanwhile.
func (h *Home) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case h.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release, err := h.lockFile(ctx)
	if err != nil {
		<-h.writing
		return nil, err
	}
	h.keyring.forget() // what it said before does not count any more
	return func() { release(); <-h.writing }, nil
}

func (h *Home) lockFile(ctx context.Context) (unlock func(), err error) {
	path := h.target()
	lock := flock.New(filepath.Dir(path), flock.SetFlag(os.O_RDONLY))
	if h.lockBeside {
		lock = flock.New(path + ".agentproxy.lock") // .lock is Codex's
	}
	unlock, err = takeLock(ctx, lock)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil // there is nothing to be changed
	case err == nil || ctx.Err() != nil || h.lockBeside:
		return unlock, err
	}
	// NFS has no locks on directories. Whoever waited for the lock of a file that
	// was replaced meanwhile has to take that of the new one.
	for {
		lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
		unlock, err := takeLock(ctx, lock)
		if errors.Is(err, fs.ErrNotExist) {
			return func() {}, nil
		}
		if err != nil {
			return nil, err
		}
		held, heldErr := lock.Stat()
		now, err := os.Stat(path)
		if heldErr == nil && err == nil && os.SameFile(held, now) {
			return unlock, nil
		}
		unlock()
	}
}

// takeLock waits for a lock as long as ctx allows.
func takeLock(ctx context.Context, lock *flock.Flock) (unlock func(), err error) {
	if _, err := lock.TryLockContext(ctx, lockInterval); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// target is the file that auth.json is, links followed: a link stays a link.
func (h *Home) target() string {
	if target, err := filepath.EvalSymlinks(h.Path()); err == nil {
		return target
	}
	return h.Path()
}

// Update replaces the log-in's file by what edit makes of it, under Codex's locks.
// edit gets a whole file that was understood, and may return nil to leave it as it
// is. The caller holds the lock.
//
// A file that an older Codex changed while edit worked is edited anew.
func (h *Home) Update(ctx context.Context, edit func(raw []byte, auth *Auth) ([]byte, error)) error {
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for {
		raw, auth, err := h.readWhole(ctx)
		if err != nil {
			return err
		}
		edited, err := edit(raw, auth)
		if err != nil || edited == nil || bytes.Equal(edited, raw) {
			return err
		}
		if _, err := ParseAuth(edited); err != nil {
			return fmt.Errorf("the edited file would be broken: %w", err)
		}
		if auth.InKeyring {
			return h.keyring.save(string(edited))
		}
		write := replaceLike
		if h.inPlace {
			write = overwriteLike
		}
		if err := write(h.target(), raw, edited); !errors.Is(err, errChanged) {
			return err
		}
		if err := h.wait(ctx, rereadInterval); err != nil {
			return err
		}
	}
}

// createTries bounds how often a log-in that came while one was to be made is looked at.
const createTries = 3

// create makes auth.json, under Codex's locks. The error wraps [fs.ErrExist] if there is
// one, of somebody who has logged in meanwhile. The caller holds the lock.
func (h *Home) create(ctx context.Context, raw []byte) error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("make the Codex home: %w", err)
	}
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := createFile(h.Path(), raw, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", h.Path(), err)
	}
	return nil
}

// errChanged says that a file is not what it was.
var errChanged = errors.New("the file has changed")

// holds reports whether f holds raw and nothing else.
func holds(f *os.File, raw []byte) bool {
	now, err := readAt(f)
	return err == nil && bytes.Equal(now, raw)
}

func readAt(f *os.File) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(f, 0, maxAuthBytes+1))
}

// isAt reports whether f is the file at path.
func isAt(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// readWhole returns the file's content once that is a whole one.
func (h *Home) readWhole(ctx context.Context) ([]byte, *Auth, error) {
	for i := 0; ; i++ {
		auth, err := h.Load(ctx)
		if err != nil {
			return nil, nil, err
		}
		if auth.InKeyring {
			return []byte(h.keyring.load()), auth, nil
		}
		raw, err := os.ReadFile(h.Path())
		if err == nil {
			if auth, err := parseAuth(h.Path(), raw); err == nil {
				return raw, auth, nil
			}
		}
		if i == rereadTimes {
			return nil, nil, fmt.Errorf("%s does not stay whole: something else keeps writing it", h.Path())
		}
		if err := h.wait(ctx, rereadInterval); err != nil {
			return nil, nil, err
		}
	}
}
