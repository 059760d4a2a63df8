package codexhome

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCredentialsStore reads where Codex keeps its log-in.
func TestCredentialsStore(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/etc/" + ManagedConfigFile); err == nil {
		t.Fatalf("this machine has /etc/%s, which counts first", ManagedConfigFile)
	}
	for content, want := range map[string]string{
		"":                                      "",
		"model = \"x\"\n[features]\na = true\n": "",
		"cli_auth_credentials_store = \"keyring\"":   StoreKeyring,
		"cli_auth_credentials_store = 'ephemeral'#":  StoreEphemeral,
		"[x]\ncli_auth_credentials_store = \"auto\"": "",
	} {
		home := t.TempDir()
		path := filepath.Join(home, "config.toml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, file, err := CredentialsStore(home)
		if got != want || err != nil || (want != "") != (file == path) {
			t.Errorf("%q: %q in %s, %v; want %q", content, got, file, err, want)
		}
	}
	home := t.TempDir()
	if got, _, err := CredentialsStore(home); got != "" || err != nil {
		t.Errorf("nothing there: %q, %v", got, err)
	}
	path := filepath.Join(home, "config.toml")
	if err := os.WriteFile(path, []byte("a = b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, file, err := CredentialsStore(home); err == nil || file != path {
		t.Errorf("not TOML: %s, %v", file, err)
	}
}
