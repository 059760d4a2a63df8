//go:build !windows

package safefile

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

// Write replaces the file at path atomically and durably: a reader, also after a crash, finds
// the old content or the new. Neither the umask nor the permissions of a file that was there
// change perm. The temporary file lies beside it, for a secret must not pass through a shared
// directory. A device, pipe or socket, such as /dev/null or what /dev/stdout leads to, is not
// replaced: the error wraps [ErrNotRegular].
func Write(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, nothing)
}

// WriteForOwner is [Write] of a file that is to belong to the owner of its directory, if this user
// may give it away: what root writes must not shut the owner out.
func WriteForOwner(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, func(f *os.File) error {
		if info, err := os.Stat(filepath.Dir(path)); err == nil {
			_ = chownLike(f, info)
		}
		return nil
	})
}

func write(path string, data []byte, perm fs.FileMode, prepare func(*os.File) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() { // rename(2) refuses a directory
		return &fs.PathError{Op: "replace", Path: path, Err: ErrNotRegular}
	}
	return placeFile(path, data, perm, prepare, nothing, os.Rename)
}

// Rewrite is [Write] for a file that is there: it keeps its owner, its group and its
// permissions, and a link to it stays one.
func Rewrite(path string, data []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return placeFile(path, data, info.Mode().Perm(), func(f *os.File) error {
		return chownLike(f, info)
	}, nothing, os.Rename)
}

func nothing(*os.File) error { return nil }

// Create is [Write] where no file is to be replaced: if there is one, the error wraps
// [fs.ErrExist].
func Create(path string, data []byte, perm fs.FileMode) error {
	err := placeFile(path, data, perm, nothing, nothing, os.Link)
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return createInPlace(path, data, perm) // there are no hard links
}

// Replace replaces the content was of the file at path, which belongs to another
// program, by data. The file keeps its owner, and no more people may read it than
// before. If it holds something else than was, the error is [ErrChanged].
//
// A program that opened the file before it was replaced, and writes to it after, would write
// to a file that nobody reads. Where there are leases, the program waits, and the old file is
// put back before it goes on. Elsewhere the old file is put back if it was written
// meanwhile.
//
// A file that cannot be replaced, such as one that is mounted by itself into a
// container, is written in place.
func Replace(path string, was, data []byte) error {
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
		if !holds(old, was) || !isAt(old, path) {
			return ErrChanged
		}
		return nil
	}
	var aside string
	var held *lease
	err = placeFile(path, data, info.Mode().Perm()&0o600, func(f *os.File) error {
		return chownLike(f, info)
	}, func(f *os.File) error {
		// Where there are no hard links there is nothing to put back.
		if name := f.Name() + "0"; os.Link(path, name) == nil {
			aside = name
		}
		held = takeLease(old)
		return unchanged()
	}, os.Rename)
	if aside != "" {
		defer os.Remove(aside)
	}
	late := err == nil && aside != "" && (held.wanted() || !holds(old, was))
	if late && os.Rename(aside, path) == nil {
		err = ErrChanged
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

// Overwrite is [Replace] that writes in place and puts no other file there.
func Overwrite(path string, was, data []byte) error {
	old, err := os.Open(path)
	if err != nil {
		return err
	}
	defer old.Close()
	if !holds(old, was) || !isAt(old, path) {
		return ErrChanged
	}
	return writeInPlace(path, data)
}

// writeInPlace writes JSON text over the content of a file. If that was longer, spaces follow
// the text before the file is cut, so that no reader finds the end of the old text behind the
// new.
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

// placeFile puts a new file in its place by place. It calls prepare with the new file before
// it writes it, and last just before place.
func placeFile(path string, data []byte, perm fs.FileMode, prepare, last func(*os.File) error, place func(from, to string) error) (err error) {
	defer func() {
		// The name of the temporary file means nothing to the caller.
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

// temporaryName returns the beginning of the name of the temporary file for path, without the
// dot before it. That for auth.json is Codex's own, which other code knows to hide.
func temporaryName(path string) string {
	if name := filepath.Base(path); name != "auth.json" {
		return name
	}
	return "auth-"
}

// leftoverAge is the age from which a temporary file is one that a crash has left.
const leftoverAge = time.Minute

// removeLeftovers removes the temporary files for path whose writer was killed: those whose
// name is a dot, the temporary name and digits.
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
