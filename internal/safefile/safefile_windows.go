package safefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
)

// Write writes a file. Windows has no rename that replaces atomically (see
// github.com/google/renameio/issues/1).
func Write(path string, data []byte, perm fs.FileMode) error {
	return os.WriteFile(path, data, perm)
}

// WriteForOwner is [Write]: a new file belongs to the owner of its directory.
func WriteForOwner(path string, data []byte, perm fs.FileMode) error { return Write(path, data, perm) }

// Rewrite is [Write] for a file that is there.
func Rewrite(path string, data []byte) error { return Write(path, data, 0o600) }

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

func openAtOnce(path string) (*os.File, error) { return os.Open(path) }

// OwnerOf is never ok: Windows does not number users.
func OwnerOf(fs.FileInfo) (uid uint32, ok bool) { return 0, false }

// Inode returns 0: the system does not tell a file from the one that replaced it.
func Inode(fs.FileInfo) uint64 { return 0 }

// GiveLike does nothing: a new file belongs to the owner of its directory.
func GiveLike(path, like string) {}

// Claim keeps other programs from opening a file, which cannot be done here.
type Claim struct{}

// TakeClaim returns nil: there is no claim to be had.
func TakeClaim(path string) *Claim { return nil }

// Wanted reports false.
func (*Claim) Wanted() bool { return false }

// Read returns [ErrChanged].
func (*Claim) Read(int64) ([]byte, error) { return nil, ErrChanged }

// Replace returns [ErrChanged].
func (*Claim) Replace([]byte) error { return ErrChanged }

// Overwrite returns [ErrChanged].
func (*Claim) Overwrite([]byte) error { return ErrChanged }

// Release does nothing.
func (*Claim) Release() {}

// Narrow returns an error: permissions are kept elsewhere on this system.
func Narrow(string, fs.FileInfo, fs.FileMode) (before, after fs.FileMode, err error) {
	return 0, 0, errors.ErrUnsupported
}
