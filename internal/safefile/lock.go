package safefile

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// lockInterval is how often a lock that another process holds is tried.
const lockInterval = 10 * time.Millisecond

// Lock waits until this process alone has the lock on the file at path, which it
// makes if there is none, or until ctx ends. The system drops the lock of a process
// that is killed.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	return take(ctx, flock.New(path, flock.SetPermissions(0o600)))
}

// LockExisting is [Lock] on a file or directory that must exist. If it is replaced
// during the wait, the lock on what took its place is taken.
func LockExisting(ctx context.Context, path string) (unlock func(), err error) {
	for {
		lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
		unlock, err := take(ctx, lock)
		if err != nil {
			return nil, err
		}
		held, heldErr := lock.Stat()
		now, err := os.Stat(path)
		if heldErr == nil && err == nil && os.SameFile(held, now) {
			return unlock, nil
		}
		unlock()
	}
}

func take(ctx context.Context, lock *flock.Flock) (unlock func(), err error) {
	if _, err := lock.TryLockContext(ctx, lockInterval); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil
}
