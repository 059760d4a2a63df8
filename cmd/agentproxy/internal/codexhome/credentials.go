package codexhome

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// The values of Codex's setting cli_auth_credentials_store. Where it is not set, Codex keeps
// its log-in in auth.json.
const (
	StoreFile      = "file"
	StoreKeyring   = "keyring"
	StoreAuto      = "auto"      // the keyring where there is one
	StoreEphemeral = "ephemeral" // the memory of one process
)

// CredentialsStore returns where a Codex with the home at codexHome keeps its log-in, "" if
// no file says, and the file that says it. The error names the file that cannot be read.
func CredentialsStore(codexHome string) (store, file string, err error) {
	for _, path := range []string{"/etc/" + ManagedConfigFile, filepath.Join(codexHome, "config.toml")} {
		raw, err := safefile.Read(path, MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", path, err
		}
		var config struct {
			Store string `toml:"cli_auth_credentials_store"`
		}
		if err := toml.Unmarshal(raw, &config); err != nil {
			return "", path, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if config.Store != "" {
			return config.Store, path, nil
		}
	}
	return "", "", nil
}
