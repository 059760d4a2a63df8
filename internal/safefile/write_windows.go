package safefile

import (
	"bytes"
	"io/fs"
	"os"
)

// Write writes a file. Windows has no rename that replaces atomically (see
// github.com/google/renameio/issues/1).
func Write(path string, data []byte, perm fs.FileMode) error {
	return os.WriteFile(path, data, perm)
}

// Create writes a file that must not be there yet. If it is, the error wraps
// [fs.ErrExist].
func Create(path string, data []byte, perm fs.FileMode) error {
	return createInPlace(path, data, perm)
}

// Replace writes data over a file that holds was. If it holds something else, the
// error is [ErrChanged].
func Replace(path string, was, data []byte) error {
	if now, err := Read(path, int64(len(was))); err != nil || !bytes.Equal(now, was) {
		return ErrChanged
	}
	return os.WriteFile(path, data, 0o600)
}

// Overwrite is [Replace].
func Overwrite(path string, was, data []byte) error { return Replace(path, was, data) }
