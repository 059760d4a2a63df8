package launch

import (
	"os"

	"golang.org/x/sys/unix"
)

// HoldSocketDirs makes the directories of socketDirs, so that they can be hidden, and keeps
// them until release is called: a mount ends when the directory below it is removed.
func HoldSocketDirs() (release func()) {
	var held []*os.File
	for _, dir := range socketDirs() {
		_ = os.Mkdir(dir, 0o700)
		f, err := os.Open(dir)
		if err != nil {
			continue // another user's, which has none of our sockets
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			f.Close()
			continue
		}
		held = append(held, f)
	}
	return func() {
		for _, dir := range held {
			releaseDir(dir)
		}
	}
}

// releaseDir removes a directory that was held, if no other run holds it and it is empty.
func releaseDir(dir *os.File) {
	defer dir.Close()
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(dir.Name())
	}
}
