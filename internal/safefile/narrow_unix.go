//go:build !windows

package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errReplaced is about a file that is not the one that was looked at before.
var errReplaced = errors.New("it was replaced meanwhile")

// Narrow takes the permissions in tooWide from the file or directory at path, and returns
// those that it had and has. It changes nothing but what seen describes, which is of the
// same path: where others can write to a directory, something else may be there by now.
func Narrow(path string, seen fs.FileInfo, tooWide fs.FileMode) (before, after fs.FileMode, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0, 0, err
	}
	f, err := os.OpenFile(real, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	if !os.SameFile(seen, info) {
		return 0, 0, fmt.Errorf("%s: %w", path, errReplaced)
	}
	before = info.Mode().Perm()
	return before, before &^ tooWide, f.Chmod(info.Mode() &^ tooWide)
}
