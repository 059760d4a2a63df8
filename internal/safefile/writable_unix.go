//go:build linux || darwin

package safefile

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// mayWrite returns why this process may not write to the file at path, or make files in the
// directory there.
func mayWrite(path string) error {
	mode := uint32(unix.W_OK)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		mode |= unix.X_OK
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, mode, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// hasSpace returns an error if the file system of path has no space, or no place for another
// file. What only the superuser may take counts for that one alone.
func hasSpace(path string) error {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return nil // it cannot tell
	}
	free := s.Bavail
	if os.Geteuid() == 0 {
		free = s.Bfree
	}
	// Some file systems count no blocks, and some no files.
	if s.Blocks > 0 && free == 0 || s.Files > 0 && s.Ffree == 0 {
		return &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
	}
	return nil
}
