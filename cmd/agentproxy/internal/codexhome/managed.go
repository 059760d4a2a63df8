package codexhome

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// ManagedConfigFile is the file, below /etc, by which every version of Codex overrides the
// user's own configuration.
const ManagedConfigFile = "codex/managed_config.toml"

// ManagedConfig returns Codex's managed configuration for a command: the machine's own,
// former, with two settings. The log-in is that in auth.json, and Codex leaves no server in
// the background, which would use a proxy that is gone. Versions without such a server
// ignore the key.
func ManagedConfig(former []byte) ([]byte, error) {
	config := make(map[string]any)
	if err := toml.Unmarshal(former, &config); err != nil {
		return nil, fmt.Errorf("/etc/%s: %w", ManagedConfigFile, err)
	}
	config["cli_auth_credentials_store"] = "file"
	features, ok := config["features"].(map[string]any)
	if !ok {
		features = make(map[string]any)
	}
	features["daemon_auto_start"] = false
	config["features"] = features
	return toml.Marshal(config)
}

// ReadManagedConfig returns the machine's managed configuration, nil if it has none.
func ReadManagedConfig() ([]byte, error) {
	raw, err := os.ReadFile("/etc/" + ManagedConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}
