package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCreate makes a file, whole and alone, and leaves one that is there as it is.
func TestCreate(t *testing.T) {
	for name, create := range map[string]func(string, []byte, fs.FileMode) error{"linked": Create, "in place": createInPlace} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "auth.json")
			if err := create(path, []byte("first"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := create(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v", err)
			}
			if raw, err := os.ReadFile(path); err != nil || string(raw) != "first" {
				t.Errorf("%v: %s", err, raw)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
				t.Errorf("left over: %v, %v", files, err)
			}
		})
	}
}

func TestWriteModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, perm := range []os.FileMode{0o600, 0o644, 0o400, 0o600} {
		if err := Write(path, []byte(perm.String()), perm); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		raw, readErr := os.ReadFile(path)
		if err != nil || readErr != nil || info.Mode().Perm() != perm || string(raw) != perm.String() {
			t.Errorf("%s: %v, %q", perm, info, raw)
		}
	}
	err := Write(filepath.Join(path, "below"), nil, 0o600)
	if err == nil || strings.Contains(err.Error(), ".below") || !strings.Contains(err.Error(), path+"/below") {
		t.Errorf("the error is %v", err)
	}
}
