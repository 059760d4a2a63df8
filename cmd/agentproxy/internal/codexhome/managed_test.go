package codexhome

import (
	"testing"

	"github.com/pelletier/go-toml/v2"
)

func TestManagedConfig(t *testing.T) {
	for _, former := range []string{
		"", "a = 1\n", "cli_auth_credentials_store = \"keyring\"\n[features]\nother = true\ndaemon_auto_start = true\n", "features = 1\n",
	} {
		checkManaged(t, former)
	}
	if _, err := ManagedConfig([]byte("a = ")); err == nil {
		t.Error("a broken file was taken")
	}
}

func FuzzManagedConfig(f *testing.F) {
	f.Add("[features]\nother = true\n")
	f.Fuzz(func(t *testing.T, former string) { checkManaged(t, former) })
}

// checkManaged checks that what is managed says what it must, and all that it said.
func checkManaged(t *testing.T, former string) {
	t.Helper()
	raw, err := ManagedConfig([]byte(former))
	if err != nil {
		return
	}
	var before, after map[string]any
	if err := toml.Unmarshal([]byte(former), &before); err != nil {
		t.Fatalf("%q was taken: %v", former, err)
	}
	if err := toml.Unmarshal(raw, &after); err != nil {
		t.Fatalf("%q became %q: %v", former, raw, err)
	}
	features, _ := after["features"].(map[string]any)
	if after["cli_auth_credentials_store"] != "file" || features["daemon_auto_start"] != false {
		t.Errorf("%q became %q", former, raw)
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			t.Errorf("%q became %q, without %s", former, raw, key)
		}
	}
}
