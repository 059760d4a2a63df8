package clientenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// MakeRunDir makes a directory for the files of a run, below the state directory. It
// removes the directories of killed runs, whose locks nobody holds.
func MakeRunDir(stateDir string) (dir string, release func() error, err error) {
	parent := filepath.Join(stateDir, "run")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the directory %s: %w; make state_dir one that can be written", parent, safefile.Cause(err))
	}
	DeadRuns(stateDir, true)
	for {
		dir, err = os.MkdirTemp(parent, "")
		if err != nil {
			return "", nil, fmt.Errorf("make a directory in %s: %w; make state_dir one that can be written", parent, safefile.Cause(err))
		}
		lock := flock.New(dir + ".lock")
		locked, err := lock.TryLock()
		if err != nil {
			return "", nil, errors.Join(fmt.Errorf("lock the directory of the run: %w", err), os.RemoveAll(dir))
		}
		if _, err := os.Stat(dir); locked && err == nil {
			return dir, func() error {
				return errors.Join(os.RemoveAll(dir), removeLock(lock))
			}, nil
		}
		// A run that began at the same time found the lock before it was held, and took
		// it for that of a killed run.
		if err := errors.Join(os.RemoveAll(dir), lock.Unlock()); err != nil {
			return "", nil, err
		}
	}
}

// DeadRuns returns how many directories of killed runs there are below a state directory. It
// removes them if remove is set, maybe also one that is just being made, whose lock nobody
// holds yet: MakeRunDir checks that.
func DeadRuns(stateDir string, remove bool) (n int) {
	parent := filepath.Join(stateDir, "run")
	if info, err := os.Lstat(parent); err != nil || !info.IsDir() {
		return 0 // or a link might have files of others removed
	}
	locks, _ := filepath.Glob(filepath.Join(parent, "*.lock"))
	for _, path := range locks {
		lock := flock.New(path)
		if locked, err := lock.TryLock(); err != nil || !locked {
			continue
		}
		n++
		if !remove {
			_ = lock.Unlock()
			continue
		}
		_ = os.RemoveAll(strings.TrimSuffix(path, ".lock"))
		_ = removeLock(lock)
	}
	return n
}

// removeLock removes the file of a lock that is held, and gives up the lock. The
// file goes first, so that nobody locks what is no longer there; but Windows
// removes no file that is open.
func removeLock(lock *flock.Flock) error {
	if runtime.GOOS != "windows" {
		return errors.Join(os.Remove(lock.Path()), lock.Unlock())
	}
	err := lock.Unlock()
	_ = os.Remove(lock.Path()) // a run that has it open since removes it
	return err
}
