//go:build !windows

package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestNarrow takes permissions from what was looked at, and from nothing that is there in its
// place.
func TestNarrow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	make := func(name string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	look := func(path string) fs.FileInfo {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	wide, secret := make("wide", 0o777), make("secret", 0o600)
	seen := look(wide)
	if err := errors.Join(os.Remove(wide), os.Symlink(secret, wide)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Narrow(wide, seen, OthersWrite); !errors.Is(err, errReplaced) {
		t.Errorf("what took its place: %v", err)
	}
	if mode := look(secret).Mode(); mode != 0o600 {
		t.Errorf("another file has the mode %v now", mode)
	}

	// A link that was there before is no other file.
	if err := os.Chmod(secret, 0o646); err != nil {
		t.Fatal(err)
	}
	if before, after, err := Narrow(wide, look(wide), BeyondOwner); before != 0o646 || after != 0o600 || err != nil {
		t.Errorf("%v, %v, %v", before, after, err)
	}
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Narrow(dir, look(dir), OthersWrite); err != nil || look(dir).Mode() != fs.ModeDir|fs.ModeSticky|0o755 {
		t.Errorf("a directory: %v, %v", look(dir).Mode(), err)
	}
}
