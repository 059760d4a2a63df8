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

// TestDefaultFileNamesFullPaths: agentproxy may be started in a checkout, so that what a path of
// the default file leads to must not be what happens to be there.
func TestDefaultFileNamesFullPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	variables := map[string]string{"XDG_CONFIG_HOME": dir, "AppData": dir, "HOME": dir}
	env := configtest.Environment(variables)
	path := DefaultPath(env)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	load := func(path, text string) error {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, env)
		return err
	}
	other := filepath.Join(dir, "other.yaml")
	const issuer = "exchange: {listen: 127.0.0.1:9081, issuers: [{issuer: https://i.example, audience: a, labels: [{claims: {sub: x}, label: x}], "
	profile := func(keys string) string {
		return "clients: {issued: only}\nprofiles: [{name: p, labels: [x], " + keys + "}]"
	}
	texts := map[string]string{
		"state_dir":                         "state_dir: PATH",
		"admin_token_file":                  "admin_token_file: PATH",
		"identity.codex_home":               "identity: {codex_home: PATH}",
		"identity.file":                     "identity: {file: PATH}",
		"clients.token_file":                "clients: {token_file: PATH}",
		"clients.tokens_file":               "clients: {tokens_file: PATH}",
		"clients.issued_key_file":           "clients: {issued_key_file: PATH}",
		"clients.issued_revoked_file":       "clients: {issued_key_file: /x, issued_revoked_file: PATH}",
		"authz.token_file":                  "authz: {listen: 127.0.0.1:1, token_file: PATH}",
		"upstream.ca_file":                  "upstream: {ca_file: PATH}",
		"audit.file":                        "audit: {file: PATH}",
		"usage.file":                        "usage: {file: PATH}",
		"signer.token_file":                 "signer: {use: token, token_file: PATH}",
		"signer.command":                    "signer: {use: command, command: [PATH, x]}",
		"signer.rules[].token_file":         "signer: {rules: [{path: /x, use: token, token_file: PATH}]}",
		"signer.rules[].command":            "signer: {rules: [{path: /x, use: command, command: [PATH]}]}",
		"profiles[].identity.codex_home":    profile("identity: {codex_home: PATH}"),
		"profiles[].identity.file":          profile("identity: {file: PATH}"),
		"profiles[].signer.token_file":      profile("signer: {use: token, token_file: PATH}"),
		"profiles[].signer.command":         profile("signer: {use: command, command: [PATH]}"),
		"profiles[].signer.rules[].command": profile("signer: {use: bearer, rules: [{path: /x, use: command, command: [PATH]}]}"),
		"profiles[].signer.rules[].token_file": profile(
			"signer: {use: bearer, rules: [{path: /x, use: token, token_file: PATH}]}"),
		"exchange.issuers[].ca_file":    issuer + "ca_file: PATH}]}",
		"exchange.issuers[].token_file": issuer + "keys_url: https://i.example/k, ca_file: /x, token_file: PATH}]}",
	}
	for key, text := range texts {
		for _, name := range []string{"./planted", "a/planted", "../planted", "~me/planted"} {
			text := strings.ReplaceAll(text, "PATH", name)
			err := load(path, text)
			plain := strings.ReplaceAll(key, "[]", "[0]")
			if err == nil || !strings.Contains(err.Error(), plain+": ") || !strings.HasPrefix(err.Error(), path+":") ||
				!strings.HasSuffix(err.Error(), "write the path in full, or from ~/ on") {
				t.Errorf("%s: %v", text, err)
			}
			if err := load(other, text); err != nil {
				t.Errorf("%s, in a file that is named: %v", text, err)
			}
		}
		for _, name := range []string{"~/own", filepath.Join(dir, "own")} {
			if err := load(path, strings.ReplaceAll(text, "PATH", name)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	for _, k := range Keys() {
		_, tested := texts[k.Path]
		name := k.Path[strings.LastIndex(k.Path, ".")+1:]
		isPath := name == "file" || name == "command" || strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_dir") || strings.HasSuffix(name, "_home")
		if isPath && !tested {
			t.Errorf("%s is not tested", k.Path)
		}
	}

	// A program of PATH begins nowhere, and a variable is who starts agentproxy's to set.
	if err := load(path, "signer: {use: command, command: [pass, show]}"); err != nil {
		t.Error(err)
	}
	variables["AGENTPROXY_STATE_DIR"] = "below"
	env = configtest.Environment(variables)
	if err := load(path, "listen: 127.0.0.1:1"); err != nil {
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
