package safefile

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestLock has two take the same lock, one after the other.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 5*lockInterval)
	defer cancel()
	if _, err := Lock(short, path); err == nil {
		t.Fatal("two hold the lock")
	}
	time.AfterFunc(2*lockInterval, unlock)
	again, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// TestLockExisting replaces a locked file: who waits gets the lock on the new one.
func TestLockExisting(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a locked file cannot be replaced there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	put := func() {
		if err := Write(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LockExisting(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	put()
	first, err := LockExisting(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan func())
	go func() {
		unlock, err := LockExisting(t.Context(), path)
		if err != nil {
			t.Error(err)
		}
		second <- unlock
	}()
	put()
	third, err := LockExisting(t.Context(), path) // of the new file, which nobody holds
	if err != nil {
		t.Fatal(err)
	}
	first()
	third()
	if unlock := <-second; unlock != nil {
		unlock()
	}
}
