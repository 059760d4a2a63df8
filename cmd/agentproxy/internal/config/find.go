package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// None is what --config and PathVariable name for no file, as -F of ssh(1) does.
const None = "none"

// PathVariable is the environment variable that names the file where --config does not.
const PathVariable = "AGENTPROXY_CONFIG"

// Find returns the path of the file to read, "" for none: the one that --config names, or
// the variable, or else the default one if it is there. named is "" without --config.
func Find(named string, env cli.Environment) (string, error) {
	switch named = name(named, env); named {
	case None:
		return "", nil
	case "":
	default:
		return named, nil
	}
	path := DefaultPath(env)
	if path == "" {
		return "", nil
	}
	// A link that leads nowhere is a mistake, and not the wish to have no file.
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", nil
	}
	return "", fault(path, fmt.Errorf("%w; make it readable, name another file with --config, or none for the defaults", safefile.Cause(err)))[0]
}

// IsNone reports whether no file is to be read, as --config or the variable says.
func IsNone(named string, env cli.Environment) bool { return name(named, env) == None }

func name(named string, env cli.Environment) string {
	if named == "" {
		return env.Get(PathVariable)
	}
	return named
}

// DefaultPath returns the path of the file that is read where none is named:
// agentproxy/config.yaml in the directory that [os.UserConfigDir] names. It returns "" if
// the environment does not say where that is. A relative XDG_CONFIG_HOME is as none (XDG
// Base Directory Specification 0.8).
func DefaultPath(env cli.Environment) string {
	dir := env.Get("XDG_CONFIG_HOME")
	below := ""
	switch runtime.GOOS {
	case "windows":
		dir = env.Get("AppData")
	case "darwin", "ios":
		dir, below = env.Get("HOME"), "Library/Application Support"
	default:
		if !filepath.IsAbs(dir) {
			dir, below = env.Get("HOME"), ".config"
		}
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, below, "agentproxy", "config.yaml")
}

// checkTrusted returns an error if another user could have written the file at path. Nobody
// named it, and it may name programs that are run.
func checkTrusted(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%w; name another file with --config, or none for the defaults", safefile.Cause(err))
	}
	if safefile.IsForeign(info) {
		return errors.New("it belongs to another user, who could have any program run by it; change its owner, name another file with --config, or none for the defaults")
	}
	return safefile.CheckMode(path, info, safefile.OthersWrite)
}
