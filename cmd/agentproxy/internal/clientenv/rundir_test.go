package clientenv

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestRunsBeginAtOnce: no run takes the directory of another for that of a dead
// one.
func TestRunsBeginAtOnce(t *testing.T) {
	t.Parallel()
	stateDir := t.TempDir()
	const runs = 500
	var made sync.WaitGroup
	releases := make(chan func() error, runs)
	for range runs {
		made.Go(func() {
			dir, release, err := MakeRunDir(stateDir)
			if err != nil {
				t.Error(err)
				return
			}
			releases <- func() error {
				if err := os.WriteFile(filepath.Join(dir, "bundle.pem"), nil, 0o600); err != nil {
					t.Error(err)
				}
				return release()
			}
		})
	}
	made.Wait()
	close(releases)
	for release := range releases {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	left, err := os.ReadDir(filepath.Join(stateDir, "run"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// TestDeadRunsBelowLink removes nothing where a link leads: a project has files that look like
// the locks of runs.
func TestDeadRunsBelowLink(t *testing.T) {
	t.Parallel()
	project, stateDir := t.TempDir(), t.TempDir()
	yarn := filepath.Join(project, "yarn")
	if err := errors.Join(os.Mkdir(yarn, 0o700), os.WriteFile(yarn+".lock", nil, 0o600), os.Symlink(project, filepath.Join(stateDir, "run"))); err != nil {
		t.Fatal(err)
	}
	found, removed := DeadRuns(stateDir, false), DeadRuns(stateDir, true)
	if _, err := os.Stat(yarn); err != nil || found != 0 || removed != 0 {
		t.Errorf("%d are found, and %d removed: %v", found, removed, err)
	}
}
