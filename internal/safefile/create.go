package safefile

import (
	"cmp"
	"io/fs"
	"os"
)

// createInPlace makes a file that must not be there yet. Other processes may read it before
// it is whole.
func createInPlace(path string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}
