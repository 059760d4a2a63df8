//go:build linux || darwin

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestMayAppend looks at what may be there in place of a log. Nothing changes by that: no
// file is made, and the reader of a pipe notices nothing.
func TestMayAppend(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(at("pipe"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	before, err := os.Stat(at("file"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		at("file"):    nil,
		at("new"):     nil,
		at("pipe"):    nil,
		at("no/new"):  fs.ErrNotExist,
		at("file/x"):  syscall.ENOTDIR,
		dir:           syscall.EISDIR,
		os.DevNull:    nil,
		"/dev/null/x": syscall.ENOTDIR,
	} {
		if err := MayAppend(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if err := MayWriteIn(at("file")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file as a directory: %v", err)
	}
	after, err := os.Stat(at("file"))
	if err != nil || !after.ModTime().Equal(before.ModTime()) || after.Size() != 1 {
		t.Errorf("the file was changed: %v, %v", after, err)
	}
	if _, err := os.Stat(at("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
	if uid, ok := OwnerOf(after); !ok || int(uid) != os.Geteuid() {
		t.Errorf("the owner is %d, %t", uid, ok)
	}
}
