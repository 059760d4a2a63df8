package launch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestHoldDir has runs begin and end beside each other. None removes a directory that another
// one holds, and the last one leaves none.
func TestHoldDir(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sockets")
	var runs sync.WaitGroup
	for range 8 {
		runs.Go(func() {
			for range 500 {
				dir := holdDir(path)
				if dir == nil {
					t.Error("it cannot be held")
					return
				}
				if !isAtPath(dir, os.Lstat) {
					t.Error("it is held, and was removed")
				}
				releaseDir(dir)
			}
		})
	}
	runs.Wait()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}

	// A file of the user's in it keeps it.
	dir := holdDir(path)
	if err := os.WriteFile(filepath.Join(path, "control.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	releaseDir(dir)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}

	// A link stays one, wherever it leads.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if dir := holdDir(link); dir == nil {
		t.Error("what a link leads to cannot be held")
	} else {
		releaseDir(dir)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	for _, nowhere := range []string{link, filepath.Join(path, "below none")} {
		if dir := holdDir(nowhere); dir != nil {
			t.Errorf("%s is held", nowhere)
		}
	}
	if _, err := os.Lstat(link); err != nil {
		t.Error(err)
	}
}
