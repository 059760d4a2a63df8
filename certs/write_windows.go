package certs

import (
	"io/fs"
	"os"
)

// writeFile writes a file. Windows has no rename that replaces atomically (see
// github.com/google/renameio/issues/1); the lock must do.
func writeFile(path string, data []byte, perm fs.FileMode) error {
	return os.WriteFile(path, data, perm)
}

func isGiven(fs.FileInfo) bool { return false }
