package codexhome

import (
	"errors"
	"io/fs"
	"os"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// FindStub reports whether a run that was killed has left its placeholder as the auth.json of
// the Codex home at codexHome. It removes the placeholder if remove is set, and else changes
// nothing.
func FindStub(stateDir, codexHome string, isPlaceholder func([]byte) bool, remove bool) (found bool, err error) {
	h, err := newHome(stateDir, codexHome, isPlaceholder)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(h.stubMark()); err != nil {
		return false, nil
	}
	if _, err := os.Stat(h.lock.Path()); err != nil {
		return false, nil // the lock is not made for this
	}
	if alone, err := h.lock.TryLock(); err != nil || !alone {
		return false, err
	}
	raw, err := safefile.Read(h.authPath(), MaxFile)
	found = err == nil && (len(raw) == 0 || isPlaceholder(raw))
	if found && remove {
		err = h.removeStub()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return found, errors.Join(err, h.lock.Unlock())
}
