// Package safefile reads and writes files that hold secrets, or that another
// program may be reading and writing at the same time.
//
// [Read] never waits and never reads without bound: it refuses named pipes,
// devices and directories, and files over a limit. [ReadPrivate] also refuses a
// file that too many people may read or write. [Write] replaces a file at once
// and durably; [Replace] does so for a file that belongs to another program.
// [Lock] makes processes take turns.
//
// Errors are of type [*fs.PathError] wherever a path is concerned, and [Cause]
// takes the path out where a message names it anyway.
package safefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

var (
	// ErrNotRegular says that a path leads to a directory, a named pipe, a device
	// or a socket.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge says that a file holds more than the reader's limit.
	ErrTooLarge = errors.New("too large")
	// ErrChanged says that a file is not what the caller has read.
	ErrChanged = errors.New("the file has changed")
)

// Permissions that a file must not have, for [ReadPrivate] and [CheckMode].
const (
	// BeyondOwner is for keys and log-ins: the owner alone may read and write.
	BeyondOwner fs.FileMode = 0o077
	// BeyondGroup is for tokens: the owner's group may read as well.
	BeyondGroup fs.FileMode = 0o027
	// OthersWrite is for what everybody may read.
	OthersWrite fs.FileMode = 0o022
)

// ModeError says that a file or directory has permissions that it must not have.
type ModeError struct {
	Path  string
	Perm  fs.FileMode
	Chmod string // the argument of chmod(1) that is the remedy
}

// Error returns the permissions and the command that mends them.
func (e *ModeError) Error() string {
	return fmt.Sprintf("permissions %#o are too wide; run: chmod %s %s", e.Perm, e.Chmod, e.Path)
}

// CheckMode returns a [*ModeError] if the file or directory at path, described by
// info, has any of the permissions in tooWide. The group may read a file of the
// superuser's that was given to this process, as container engines mount secrets.
// On Windows permissions are kept elsewhere, and the error is nil.
func CheckMode(path string, info fs.FileInfo, tooWide fs.FileMode) error {
	if uid, ok := OwnerOf(info); ok && uid == 0 && os.Geteuid() != 0 {
		tooWide &^= 0o040
	}
	perm := info.Mode().Perm()
	if perm&tooWide == 0 || runtime.GOOS == "windows" {
		return nil
	}
	chmod := "600"
	switch {
	case info.IsDir():
		chmod = "go-w"
	case tooWide&0o004 == 0:
		chmod = "644"
	}
	return &ModeError{path, perm, chmod}
}

// IsForeign reports whether a file belongs to another user, who is not the superuser. On
// Windows it is false.
func IsForeign(info fs.FileInfo) bool {
	uid, ok := OwnerOf(info)
	return ok && uid != 0 && int(uid) != os.Geteuid()
}

// CheckPath is [CheckMode] for the file or directory at path.
func CheckPath(path string, tooWide fs.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return CheckMode(path, info, tooWide)
}

// Open opens the regular file at path for reading and describes it. Other kinds of
// file are an error that wraps [ErrNotRegular]; a named pipe without a writer does
// not make it wait.
func Open(path string) (*os.File, fs.FileInfo, error) {
	notRegular := &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	// To open a pipe would let its writer go on, and a device may do anything.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, nil, notRegular
	}
	f, err := openAtOnce(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// ReadAll reads the rest of f, up to limit bytes. If there is more, the error
// wraps [ErrTooLarge].
func ReadAll(f *os.File, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = &fs.PathError{Op: "read", Path: f.Name(), Err: sizeError(limit)}
	}
	if err != nil {
		return nil, err
	}
	return raw, nil
}

// Read returns the content of the regular file at path, which may have up to limit
// bytes. Its errors are those of [Open] and [ReadAll].
func Read(path string, limit int64) ([]byte, error) { return ReadPrivate(path, limit, 0) }

// ReadPrivate is [Read] for a file that must have none of the permissions in
// tooWide. If it has, the error wraps a [*ModeError].
func ReadPrivate(path string, limit int64, tooWide fs.FileMode) ([]byte, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := CheckMode(path, info, tooWide); err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return ReadAll(f, limit)
}

// sizeError is an [ErrTooLarge] that names the limit in bytes.
type sizeError int64

func (e sizeError) Error() string {
	if e >= 1<<20 && e%(1<<20) == 0 {
		return fmt.Sprintf("larger than %d MiB", e>>20)
	}
	return fmt.Sprintf("larger than %d bytes", int64(e))
}

func (sizeError) Is(target error) bool { return target == ErrTooLarge }

// Cause returns err without the path that the errors of package os begin with, for
// messages that name the path anyway.
func Cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// Same reports whether two paths lead to the same file or directory.
func Same(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// PathID returns a short name for a path, the same however the path is spelled: the
// first 16 hexadecimal digits of the SHA-256 of its canonical form.
func PathID(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if canonical, err := filepath.EvalSymlinks(path); err == nil {
		path = canonical
	}
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])[:16]
}

// Text returns the content of a text file without the byte order mark that some editors
// put at its beginning.
func Text(raw []byte) []byte { return bytes.TrimPrefix(raw, []byte("\ufeff")) }
