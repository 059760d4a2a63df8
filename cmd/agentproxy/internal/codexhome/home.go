// Package codexhome knows what Codex keeps in its home. It makes the private home that takes
// the place of the user's where the log-in cannot be hidden from a command.
package codexhome

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Home is what runs keep for one Codex home of the user: a private home that takes its place
// where nothing can be hidden. Runs with one Codex home share it. The last of them moves
// new files from the private home to the user's.
type Home struct {
	dir   string // of the Home itself
	users string // the user's Codex home
	lock  *flock.Flock

	// isPlaceholder reports whether the content of an auth.json is a placeholder.
	isPlaceholder func([]byte) bool
}

// homesDir is the directory of all Homes in the state directory.
const homesDir = "homes"

// lockPatience is the time between tries to lock a Home that another run tidies up.
const lockPatience = 5 * time.Millisecond

// OpenHome opens the Home, in stateDir, of the Codex home at codexHome, which need not exist.
// It must be closed. If files of a killed run cannot be moved to the user's home, they stay
// where they are and warn is called.
func OpenHome(stateDir, codexHome string, isPlaceholder func([]byte) bool, warn func(error)) (*Home, error) {
	h, err := newHome(stateDir, codexHome, isPlaceholder)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory %s: %w; make state_dir one that can be written", h.dir, safefile.Cause(err))
	}
	// If there is no other run, the files of a killed run are moved first.
	if alone, err := h.lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", h.lock.Path(), err)
	} else if alone {
		if err := h.tidy(); err != nil {
			warn(err)
		}
		if err := h.lock.Unlock(); err != nil {
			return nil, err
		}
	}
	for {
		// A run that has it alone tidies up, which does not take long.
		shared, err := h.lock.TryRLock()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", h.lock.Path(), err)
		}
		if shared {
			return h, nil
		}
		time.Sleep(lockPatience)
	}
}

// newHome returns the Home without a lock on it.
func newHome(stateDir, codexHome string, isPlaceholder func([]byte) bool) (*Home, error) {
	users, err := filepath.Abs(codexHome)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(users); err == nil {
		users = real
	}
	dir := filepath.Join(stateDir, homesDir, safefile.PathID(users))
	return &Home{dir: dir, users: users, lock: flock.New(filepath.Join(dir, "lock")), isPlaceholder: isPlaceholder}, nil
}

// Close moves new files to the user's home, if no other run uses the Home.
func (h *Home) Close() error {
	err := h.lock.Unlock()
	if alone, lockErr := h.lock.TryLock(); lockErr == nil && alone {
		err = errors.Join(err, h.tidy(), h.lock.Unlock())
	}
	return err
}

// tidy removes what was put into the user's home, and moves new files there. No other run may
// use the Home.
func (h *Home) tidy() error {
	return errors.Join(h.removeStub(), h.bring())
}

func (h *Home) privatePath() string { return filepath.Join(h.dir, "codex-home") }
func (h *Home) madePath() string    { return filepath.Join(h.dir, "made") }
func (h *Home) stubMark() string    { return filepath.Join(h.dir, "stub") }
func (h *Home) authPath() string    { return filepath.Join(h.users, "auth.json") }

// Hold makes an auth.json in the user's home if there is none, because the log-in is in the
// keyring or nobody is logged in: isolation needs a file to show a placeholder in place of.
// The file is the placeholder. The last run removes it.
func (h *Home) Hold(placeholder []byte) error {
	if err := os.MkdirAll(h.users, 0o700); err != nil {
		return fmt.Errorf("make the Codex home: %w", err)
	}
	if _, err := os.Stat(h.authPath()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(h.stubMark(), nil, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(h.authPath(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	if err != nil {
		return fmt.Errorf("write a placeholder to be shown: %w", err)
	}
	_, err = f.Write(placeholder)
	return errors.Join(err, f.Close())
}

// MaxFile bounds what is read of a file in a Codex home, in bytes.
const MaxFile = 1 << 20

// removeStub removes an auth.json that Hold has made, unless it holds a log-in by now.
func (h *Home) removeStub() error {
	if _, err := os.Stat(h.stubMark()); err != nil {
		return nil
	}
	raw, err := safefile.Read(h.authPath(), MaxFile)
	if err == nil && (len(raw) == 0 || h.isPlaceholder(raw)) {
		if err := os.Remove(h.authPath()); err != nil {
			return err
		}
	}
	return os.Remove(h.stubMark())
}

// Links returns the links that an isolated command finds in the state directory, which is
// hidden from it. Codex looks for a session where it began, which may be the private home.
func (h *Home) Links() map[string]string {
	name := filepath.Join(homesDir, filepath.Base(h.dir), filepath.Base(h.privatePath()))
	return map[string]string{name: h.users}
}

// madeFirst are the directories that Codex makes in its home. They are made in the user's
// home and linked to, so that new files are at their place at once.
var madeFirst = []string{"sessions", "archived_sessions", "log", "memories", "skills", "prompts", "rules", "shell_snapshots"}

// makeFirst makes the directories of madeFirst, and notes which were missing.
func (h *Home) makeFirst() error {
	if err := os.MkdirAll(h.madePath(), 0o700); err != nil {
		return err
	}
	for _, name := range madeFirst {
		if os.Mkdir(filepath.Join(h.users, name), 0o700) != nil {
			continue // it is there, or the home is read-only and has what it has
		}
		if err := os.WriteFile(filepath.Join(h.madePath(), name), nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// notShared are the names in a Codex home that a private one does not link to: those of its
// background server, and .env, of which it has a copy.
var notShared = []string{"app-server-control", "app-server-daemon", ".env"}

// Private makes the private home ready and returns its path, which is the same for each run,
// for Codex keeps absolute paths. The private home links to each entry of the user's, but
// has the placeholder for auth.json, and a .env without the variables in dotenv.
func (h *Home) Private(placeholder []byte, dotenv []string) (string, error) {
	home := h.privatePath()
	for _, dir := range []string{h.users, home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("make the directory %s: %w", dir, safefile.Cause(err))
		}
	}
	if err := h.makeFirst(); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(h.users)
	if err != nil {
		return "", fmt.Errorf("read the Codex home: %w", err)
	}
	for _, entry := range entries {
		if IsLoginCopy(entry.Name()) || slices.Contains(notShared, entry.Name()) {
			continue
		}
		target := filepath.Join(h.users, entry.Name())
		if err := link(target, filepath.Join(home, entry.Name()), entry.IsDir()); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("link the Codex home: %w", err)
		}
	}
	if err := writePrivate(filepath.Join(home, "auth.json"), placeholder); err != nil {
		return "", fmt.Errorf("write the placeholder auth.json: %w", err)
	}
	if raw, err := safefile.Read(filepath.Join(h.users, ".env"), MaxFile); err == nil {
		clean, _ := ScrubDotenv(string(raw), dotenv)
		if err := writePrivate(filepath.Join(home, ".env"), []byte(clean)); err != nil {
			return "", fmt.Errorf("write a .env that leads to the proxy: %w", err)
		}
	}
	return home, nil
}

// writePrivate replaces a file atomically, for another run may read it. It does not wait for
// the disk: the file need not outlive a crash.
func writePrivate(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".agentproxy-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
