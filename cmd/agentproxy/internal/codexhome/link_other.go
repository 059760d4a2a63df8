//go:build !windows

package codexhome

import "os"

// link makes a link at path to the file or directory at target.
func link(target, path string, _ bool) error { return os.Symlink(target, path) }
