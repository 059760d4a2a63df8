package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestFind has each way to name a file, and none.
func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	variables := map[string]string{"XDG_CONFIG_HOME": dir, "AppData": dir, "HOME": dir}
	path := DefaultPath(configtest.Environment(variables))
	find := func(named, variable string) string {
		t.Helper()
		variables[PathVariable] = variable
		env := configtest.Environment(variables)
		found, err := Find(named, env)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := find("", ""); got != "" {
		t.Errorf("%s was found, and is not there", got)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", path); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ named, variable, want string }{
		{"", "", path}, // a link to nowhere is found, and then cannot be read
		{"a", "", "a"},
		{"a", "b", "a"},
		{"", "b", "b"},
		{"none", "b", ""},
		{"", "none", ""},
		{"./none", "", "./none"},
	} {
		if got := find(test.named, test.variable); got != test.want {
			t.Errorf("--config %s, %s=%s: %q, want %q", test.named, PathVariable, test.variable, got, test.want)
		}
	}
}

// TestDefaultPath has environments that name a directory, and some that do not.
func TestDefaultPath(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("other systems name it otherwise")
	}
	for _, test := range []struct{ xdg, home, want string }{
		{"/x", "/h", "/x/agentproxy/config.yaml"},
		{"", "/h", "/h/.config/agentproxy/config.yaml"},
		{"relative", "/h", "/h/.config/agentproxy/config.yaml"},
		{"", "", ""},
		{"", "relative", ""},
		{"/x", "", "/x/agentproxy/config.yaml"},
	} {
		env := configtest.Environment(map[string]string{"XDG_CONFIG_HOME": test.xdg, "HOME": test.home})
		if got := DefaultPath(env); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// TestDefaultFileIsTrusted reads the default file only where nobody else can have written it.
func TestDefaultFileIsTrusted(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps permissions elsewhere")
	}
	dir := t.TempDir()
	env := configtest.Environment(map[string]string{"XDG_CONFIG_HOME": dir, "HOME": dir})
	path := DefaultPath(env)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("listen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func() error {
		found, err := Find("", env)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Load(found, env)
		return err
	}
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o644: "", 0o400: "",
		0o664: "permissions 0664 are too wide; run: chmod 644 " + path, 0o646: "permissions 0646 are too wide",
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := load(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	// A file that somebody names is theirs to judge.
	other := filepath.Join(dir, "other.yaml")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(other, env); err != nil {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		return // nobody else gives files away
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1, -1); err != nil {
		t.Fatal(err)
	}
	if err := load(); err == nil || !strings.Contains(err.Error(), "it belongs to another user") {
		t.Error(err)
	}
}

// TestUnreadable has a file be another user's, such as that of the system's service.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	_, err := LoadWith("/etc/agentproxy/config.yaml", configtest.Environment(nil), func(path string) ([]byte, error) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	})
	const want = "/etc/agentproxy/config.yaml: permission denied; run this as a user who may read it, as by sudo -u, name another file with --config, or none for the defaults"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
