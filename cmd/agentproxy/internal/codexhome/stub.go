package codexhome

import (
	"errors"
	"io/fs"
	"os"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// HasStub reports whether a run that was killed has left its placeholder as the auth.json of
// the Codex home at codexHome. It changes nothing.
func HasStub(stateDir, codexHome string, isPlaceholder func([]byte) bool) bool {
	found := false
	_ = withStub(stateDir, codexHome, isPlaceholder, func(*Home) error {
		found = true
		return nil
	})
	return found
}

// RemoveStub removes the placeholder that [HasStub] has found.
func RemoveStub(stateDir, codexHome string, isPlaceholder func([]byte) bool) error {
	return withStub(stateDir, codexHome, isPlaceholder, (*Home).removeStub)
}

// withStub calls do while no run uses the Home, if one has left a placeholder.
func withStub(stateDir, codexHome string, isPlaceholder func([]byte) bool, do func(*Home) error) error {
	h, err := newHome(stateDir, codexHome, isPlaceholder)
	if err != nil {
		return err
	}
	if _, err := os.Stat(h.stubMark()); err != nil {
		return nil
	}
	if _, err := os.Stat(h.lock.Path()); err != nil {
		return nil // the lock is not made for this
	}
	if alone, err := h.lock.TryLock(); err != nil || !alone {
		return err
	}
	raw, err := safefile.Read(h.authPath(), MaxFile)
	if err == nil && (len(raw) == 0 || isPlaceholder(raw)) {
		err = do(h)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, h.lock.Unlock())
}
