package safefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MayAppend returns why the file at path could not be opened for appending, or made if
// there is none. It neither makes nor changes anything. A named pipe is not opened either,
// so that its reader notices nothing.
func MayAppend(path string) error {
	info, err := os.Stat(path)
	switch {
	case os.IsNotExist(err):
		return MayWriteIn(filepath.Dir(path))
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	case !info.Mode().IsRegular():
		return mayWrite(path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return hasSpace(path)
}

// MayWriteIn returns why no file could be made in the directory dir: it is not there, the
// system does not allow it, or the disk is full. It makes nothing.
func MayWriteIn(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := mayWrite(dir); err != nil {
		return err
	}
	return hasSpace(dir)
}
