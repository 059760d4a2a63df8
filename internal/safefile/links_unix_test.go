//go:build !windows

package safefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestFollowsForeignLink has links of one user on the way to a file, in the path and in the
// paths that these lead to, and asks for that user and for another.
func TestFollowsForeignLink(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4711 // root's links are nobody's choice but root's
	}
	link := func(name, target string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.Symlink(target, name), os.Lchown(name, owner, -1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755), os.WriteFile(filepath.Join(dir, "a", "b", "file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	link("relative", "a")
	link("absolute", filepath.Join(dir, "a"))
	link("second", "relative/b")
	link("a/b/last", "file")
	link("loop", "loop")
	for path, want := range map[string]struct{ own, foreign bool }{
		"a/b/file":                        {false, false},
		"a/./b//../b/file":                {false, false},
		"../../../../../../../../../../a": {true, true}, // is not there
		"relative/b/file":                 {false, true},
		"absolute/b/file":                 {false, true},
		"relative/../a/b/file":            {false, true}, // the link is followed before ..
		"second/file":                     {false, true},
		"a/b/last":                        {false, true},
		"loop/file":                       {true, true},
		"nowhere":                         {true, true},
	} {
		if got := FollowsForeignLink(dir+"/"+path, uint32(owner)); got != want.own {
			t.Errorf("%s: %t for the links' owner, want %t", path, got, want.own)
		}
		if got := FollowsForeignLink(dir+"/"+path, uint32(owner)+1); got != want.foreign {
			t.Errorf("%s: %t for another user, want %t", path, got, want.foreign)
		}
	}
}
