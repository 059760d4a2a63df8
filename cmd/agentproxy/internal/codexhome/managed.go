package codexhome

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pelletier/go-toml/v2"
)

// ManagedConfigFile is the file, below /etc, that every version of Codex lets override
// the user's own configuration.
const ManagedConfigFile = "codex/managed_config.toml"

// ManagedConfig returns Codex's managed configuration for a command: what former
// says, the machine's own, and that the log-in is the one in auth.json, and that no
// server is left in the background, which would hold a proxy that is gone. Versions
// that know no such server pass over the key.
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

// ReadManagedConfig returns the machine's, nil if it has none.
func ReadManagedConfig() ([]byte, error) {
	raw, err := os.ReadFile("/etc/" + ManagedConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}
