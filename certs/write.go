//go:build !windows

package certs

import (
	"io/fs"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// writeFile replaces a file atomically. Neither the umask nor the permissions of
// a file that was there change perm, and the temporary file lies beside it: a
// key must not pass through a shared directory.
func writeFile(path string, data []byte, perm fs.FileMode) error {
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(perm), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
