package launch

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// HoldSocketDirs makes the directories of socketDirs, so that they can be hidden, and keeps
// them until release is called: a mount ends when the directory below it is removed.
func HoldSocketDirs() (release func()) {
	var held []*os.File
	for _, path := range socketDirs() {
		if dir := holdDir(path); dir != nil {
			held = append(held, dir)
		} // else it is another user's, which has none of our sockets
	}
	return func() {
		for _, dir := range held {
			releaseDir(dir)
		}
	}
}

// maxHoldTries bounds how often a directory is made that is gone before it is held: something
// else than runs may be in the way, such as a link that leads nowhere.
const maxHoldTries = 1000

// holdDir makes the directory at path unless it is there, and holds it, so that no run removes
// it. It returns nil if that cannot be.
func holdDir(path string) *os.File {
	for range maxHoldTries {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil
		}
		dir, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a run that has ended has removed it
		}
		if err != nil {
			return nil
		}
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_SH); err != nil {
			dir.Close()
			return nil
		}
		if isAtPath(dir, os.Stat) {
			return dir
		}
		dir.Close() // it was removed before it was held
	}
	return nil
}

// releaseDir removes a directory that was held, if no other run holds it and it is empty.
func releaseDir(dir *os.File) {
	defer dir.Close()
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && isAtPath(dir, os.Lstat) {
		_ = os.Remove(dir.Name())
	}
}

// isAtPath reports whether a directory is still where it was opened, and no other is. stat says
// whether a link may lead there.
func isAtPath(dir *os.File, stat func(string) (fs.FileInfo, error)) bool {
	here, err := dir.Stat()
	if err != nil {
		return false
	}
	there, err := stat(dir.Name())
	return err == nil && os.SameFile(here, there)
}
