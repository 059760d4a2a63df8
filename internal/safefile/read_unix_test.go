//go:build !windows

package safefile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReadRefuses reads files that would make a reader wait, or read without end.
func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fifo, socket := at("fifo"), at("socket")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Symlink(fifo, at("link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, at("link"), socket, dir, "/dev/zero", "/dev/null"} {
		if _, err := Read(path, 10); !errors.Is(err, ErrNotRegular) || Cause(err).Error() != "not a regular file" {
			t.Errorf("%s: %v", path, err)
		}
		// One that took the file's place after it was looked at.
		if path != socket {
			f, err := openAtOnce(path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			f.Close()
		}
	}
	if _, err := Read(at("none"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.Symlink("loop", at("loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(at("loop"), 10); err == nil {
		t.Error("a link to itself was read")
	}
}

func TestReadLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, tt := range []struct {
		size  int
		limit int64
		want  string
	}{
		{0, 0, ""},
		{10, 10, ""},
		{11, 10, "larger than 10 bytes"},
		{1<<20 + 1, 1 << 20, "larger than 1 MiB"},
	} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", tt.size)), 0o600); err != nil {
			t.Fatal(err)
		}
		raw, err := Read(path, tt.limit)
		switch {
		case tt.want == "" && (err != nil || len(raw) != tt.size):
			t.Errorf("%d bytes: %d, %v", tt.size, len(raw), err)
		case tt.want != "" && (!errors.Is(err, ErrTooLarge) || Cause(err).Error() != tt.want || raw != nil):
			t.Errorf("%d bytes: %v", tt.size, err)
		}
	}
}

func TestReadPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for tooWide, tt := range map[fs.FileMode]struct {
		chmod  string
		refuse []fs.FileMode
		allow  []fs.FileMode
	}{
		BeyondOwner: {"600", []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o666}, []fs.FileMode{0o600, 0o400}},
		BeyondGroup: {"600", []fs.FileMode{0o644, 0o604, 0o660, 0o602}, []fs.FileMode{0o600, 0o640, 0o440}},
		OthersWrite: {"644", []fs.FileMode{0o664, 0o646}, []fs.FileMode{0o600, 0o644}},
	} {
		for _, mode := range append(tt.refuse, tt.allow...) {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			_, err := ReadPrivate(path, 10, tooWide)
			e, refused := errors.AsType[*ModeError](err)
			want := strings.Contains(strings.Join(modes(tt.refuse), " "), mode.String())
			if refused != want || !refused && err != nil || refused && (e.Chmod != tt.chmod || !strings.HasSuffix(err.Error(), "; run: chmod "+tt.chmod+" "+path)) {
				t.Errorf("%#o must not be in %#o: %v", mode, tooWide, err)
			}
		}
	}
	dir := filepath.Dir(path)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if e, ok := errors.AsType[*ModeError](CheckPath(dir, OthersWrite)); !ok || e.Chmod != "go-w" {
		t.Errorf("a directory: %v", e)
	}
}

func modes(of []fs.FileMode) (names []string) {
	for _, mode := range of {
		names = append(names, mode.String())
	}
	return names
}

// TestCause takes the path out of the errors of package os.
func TestCause(t *testing.T) {
	_, pathErr := os.Open("/none")
	linkErr := os.Rename("/none", "/none2")
	for _, err := range []error{pathErr, linkErr} {
		if got := Cause(err).Error(); got != "no such file or directory" {
			t.Errorf("%v: %q", err, got)
		}
	}
	if err := errors.New("another"); Cause(err) != err {
		t.Error("another error changed")
	}
}
