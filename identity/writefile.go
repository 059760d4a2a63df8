//go:build !windows

package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// WriteFile replaces a file atomically and durably: a reader, or whoever comes
// after a crash, finds the old content or the new. Neither the umask nor the
// permissions of a file that was there change perm, and the temporary file lies
// beside it, for a secret must not pass through a shared directory.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	nothing := func(*os.File) error { return nil }
	return replaceFile(path, data, perm, nothing, nothing)
}

// replaceLike replaces the content raw of a file that is somebody else's: it
// stays with its owner, and no more people may read it than before. The error is
// errChanged if it holds something else.
//
// Who has opened the file before it is replaced, and writes to it after, writes
// to one that nobody will read. Where there are leases, he is made to wait, and
// the old file is put back before he goes on. Elsewhere it is put back if it was
// written meanwhile.
//
// A file that cannot be replaced, as one that is mounted by itself into a
// container, is written in place.
func replaceLike(path string, raw, data []byte) error {
	old, err := os.Open(path)
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return err
	}
	unchanged := func() error {
		if !holds(old, raw) || !isAt(old, path) {
			return errChanged
		}
		return nil
	}
	var aside string
	var held *lease
	err = replaceFile(path, data, info.Mode().Perm()&0o600, func(f *os.File) error {
		return chownLike(f, info)
	}, func(f *os.File) error {
		// Where there are no hard links there is nothing to put back.
		if name := f.Name() + "0"; os.Link(path, name) == nil {
			aside = name
		}
		held = takeLease(old)
		return unchanged()
	})
	if aside != "" {
		defer os.Remove(aside)
	}
	late := err == nil && aside != "" && (held.wanted() || !holds(old, raw))
	if late && os.Rename(aside, path) == nil {
		err = errChanged
	}
	held.release()
	if cannotReplace(err) {
		if err := unchanged(); err != nil {
			return err
		}
		if writeInPlace(path, data) == nil {
			return nil
		}
	}
	return err
}

// cannotReplace reports whether err says that a file can only be written in place.
func cannotReplace(err error) bool {
	return errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EXDEV) || errors.Is(err, fs.ErrPermission)
}

// overwriteLike is [replaceLike] that writes in place.
func overwriteLike(path string, raw, data []byte) error {
	old, err := os.Open(path)
	if err != nil {
		return err
	}
	defer old.Close()
	if !holds(old, raw) || !isAt(old, path) {
		return errChanged
	}
	return writeInPlace(path, data)
}

// writeInPlace writes JSON text over what a file holds. Spaces make up for what
// was longer, so that no moment leaves half of the old text behind the new.
func writeInPlace(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return overwrite(f, data)
}

// overwrite is writeInPlace for a file that is open.
func overwrite(f *os.File, data []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	padded := append(bytes.Clone(data), bytes.Repeat([]byte(" "), max(0, int(info.Size())-len(data)))...)
	if _, err := f.WriteAt(padded, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	return f.Sync()
}

// createFile is [WriteFile] where no file is to be replaced: the error then wraps
// [fs.ErrExist].
func createFile(path string, data []byte, perm fs.FileMode) error {
	nothing := func(*os.File) error { return nil }
	err := placeFile(path, data, perm, nothing, nothing, os.Link)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return createInPlace(path, data, perm) // there are no hard links
}

// replaceFile replaces a file. prepare gets the new one before it is written,
// last just before it takes its place.
func replaceFile(path string, data []byte, perm fs.FileMode, prepare, last func(*os.File) error) error {
	return placeFile(path, data, perm, prepare, last, os.Rename)
}

// placeFile is replaceFile by another way for the file to take its place.
func placeFile(path string, data []byte, perm fs.FileMode, prepare, last func(*os.File) error, place func(from, to string) error) (err error) {
	defer func() {
		// The name of the temporary file means nothing to anybody.
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = &fs.PathError{Op: "replace", Path: path, Err: e.Err}
		}
		if e, ok := errors.AsType[*os.LinkError](err); ok {
			err = &fs.PathError{Op: "replace", Path: path, Err: e.Err}
		}
	}()
	removeLeftovers(path)
	f, err := renameio.NewPendingFile(filepath.Join(filepath.Dir(path), temporaryName(path)), renameio.WithStaticPermissions(perm), renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err := prepare(f.File); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil { // takes long, and nothing may come after last
		return err
	}
	if err := last(f.File); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return place(f.Name(), path)
}

// temporaryName is what the name of the temporary file for path begins with, after a
// dot. That of auth.json is as Codex's.
func temporaryName(path string) string {
	if name := filepath.Base(path); name != "auth.json" {
		return name
	}
	return "auth-"
}

// leftoverAge is when a temporary file is one that a crash has left.
const leftoverAge = time.Minute

// removeLeftovers removes the temporary files of replaceFile for path whose
// writer was killed: "." and the name and digits.
func removeLeftovers(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, entry := range entries {
		digits, ok := strings.CutPrefix(entry.Name(), "."+temporaryName(path))
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > leftoverAge {
			_ = os.Remove(filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
}

// isGiven reports whether a file is the superuser's, and this process is not.
func isGiven(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0 && os.Geteuid() != 0
}

// inode tells a file from the one that replaced it.
func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}

// giveLike gives a file to the owner of another one, if it is not this user's. A lock
// must not shut its owner out.
func giveLike(path, like string) {
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
