package safefile

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
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
	waits, second := &waiting{Context: t.Context(), begun: make(chan struct{})}, make(chan struct{})
	var held atomic.Bool // by the third
	go func() {
		defer close(second)
		unlock, err := LockExisting(waits, path)
		if err != nil {
			t.Error(err)
			return
		}
		defer unlock()
		if held.Load() {
			t.Error("two hold the lock")
		}
	}()
	<-waits.begun // for the former file
	put()
	third, err := LockExisting(t.Context(), path) // of the new file, which the second may have had before
	if err != nil {
		t.Fatal(err)
	}
	held.Store(true)
	first()
	held.Store(false)
	third()
	<-second
}

// waiting is a context that tells when somebody waits for its end.
type waiting struct {
	context.Context
	once  sync.Once
	begun chan struct{}
}

func (w *waiting) Done() <-chan struct{} {
	w.once.Do(func() { close(w.begun) })
	return w.Context.Done()
}
