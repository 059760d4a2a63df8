//go:build !windows

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openAtOnce opens a file for reading. It waits for nobody but the holder of a lease
// (see fcntl(2), "Leases"), which only regular files have.
func openAtOnce(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return os.Open(path)
	case errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EOPNOTSUPP):
		return nil, &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular} // a socket
	}
	return f, err
}

// OwnerOf returns the number of the user that a file belongs to. It is not ok where the
// system has no such numbers.
func OwnerOf(info fs.FileInfo) (uid uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, true
}

// Inode returns a number that tells a file from the one that replaced it, 0 where
// the system has none.
func Inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// GiveLike gives the file at path to the owner of the one at like, or of the
// directory that like is in, if that is not this user: a lock must not shut its
// owner out.
func GiveLike(path, like string) {
	info, err := os.Stat(like)
	if err != nil {
		info, err = os.Stat(filepath.Dir(like))
	}
	if err != nil {
		return
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		_ = os.Lchown(path, int(owner.Uid), int(owner.Gid))
	}
}

// chownLike gives a file to the owner of another.
func chownLike(f *os.File, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}
