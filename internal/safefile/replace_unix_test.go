//go:build !windows

package safefile

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReplace changes a file at every moment of its being replaced.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.json")
	read := func() string {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tt := range []struct{ name, holds, want string }{
		{"as expected", "old", "new"},
		{"another", "other", "other"},
	} {
		if err := os.WriteFile(path, []byte(tt.holds), 0o644); err != nil {
			t.Fatal(err)
		}
		err := Replace(path, []byte("old"), []byte("new"))
		if (err == nil) != (tt.want == "new") || err != nil && !errors.Is(err, ErrChanged) || read() != tt.want {
			t.Errorf("%s: %v, %q", tt.name, err, read())
		}
	}
	if err := Replace(filepath.Join(dir, "none"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, ".*")); len(files) != 0 {
		t.Errorf("left over: %q", files)
	}
}

// TestWriteReplacesFilesOnly has a file written where something else is, as root would with
// /dev/null or /dev/stdout. That stays.
func TestWriteReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	err = errors.Join(
		syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("pipe", at("link to a pipe")), os.Mkdir(at("directory"), 0o700),
		os.WriteFile(at("file"), nil, 0o600), os.Symlink("file", at("link to a file")), os.Symlink("none", at("dead link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "socket", "link to a pipe", "directory"} {
		before, _ := os.Lstat(at(name))
		err := Write(at(name), []byte("new"), 0o600)
		if name != "directory" && !errors.Is(err, ErrNotRegular) || err == nil {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(at(name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", name, err)
		}
	}
	for _, name := range []string{"none", "file", "link to a file", "dead link"} {
		if err := Write(at(name), []byte("new"), 0o600); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if raw, err := os.ReadFile(at(name)); string(raw) != "new" {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
	if files, _ := filepath.Glob(at(".*")); len(files) != 0 {
		t.Errorf("left over: %q", files)
	}
}

// TestLateWrite writes to a file, as Codex would who had it open, at the moment
// that it is replaced: what is written last is what counts.
func TestLateWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.json")
	putBack := 0
	for range 40 {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		replaced, started, wrote := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(wrote)
			close(started)
			for {
				select {
				case <-replaced:
				default:
					// The third is the link by which it could be put back.
					if files, _ := os.ReadDir(dir); len(files) < 3 {
						continue
					}
				}
				break
			}
			_, _ = f.WriteString("late")
		}()
		<-started
		err = Replace(path, []byte("old"), []byte("new"))
		close(replaced)
		changed := errors.Is(err, ErrChanged)
		if err != nil && !changed {
			t.Fatal(err)
		}
		<-wrote
		f.Close()
		raw, err := os.ReadFile(path)
		if want := map[bool]string{true: "late", false: "new"}[changed]; err != nil || string(raw) != want {
			t.Fatalf("%q, %v; want %q", raw, err, want)
		}
		if changed {
			putBack++
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Fatalf("left over: %v", files)
		}
	}
	t.Logf("%d of 40 were late", putBack)
}

// TestWriteInPlace never leaves what is not JSON.
func TestWriteInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	for _, size := range []int{10, 5000, 20, 20, 0} {
		data := []byte(`{"x":"` + strings.Repeat("x", size) + `"}`)
		if size == 10 { // the others are written over what was there
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := writeInPlace(path, data); err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != string(data) {
			t.Errorf("%d: %q, %v", size, raw, err)
		}
	}
}

// TestOverwrite: whoever has mounted something over a file does so over this
// very one.
func TestOverwrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "auth.json")
	if err := os.WriteFile(path, []byte("what was there before"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Overwrite(path, []byte("another"), []byte("new")); !errors.Is(err, ErrChanged) {
		t.Errorf("a file that holds something else: %v", err)
	}
	if err := Overwrite(path, []byte("what was there before"), []byte("new")); err != nil {
		t.Error(err)
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || string(raw) != "new" || !os.SameFile(before, after) {
		t.Errorf("%q, %v; the same file: %v", raw, err, os.SameFile(before, after))
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left over: %v", files)
	}
}
