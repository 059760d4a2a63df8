package cli

import (
	"errors"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// maxFile bounds what is read of a file that a user names, in bytes. Bundles of
// certificates are the largest.
const maxFile = 16 << 20

// ReadFile returns the content of the regular file at path.
func ReadFile(path string) ([]byte, error) { return safefile.Read(path, maxFile) }

// FileName is the value of a flag that names a file, or none for no file. It implements
// pflag.Value.
type FileName string

// String returns the name.
func (n *FileName) String() string { return string(*n) }

// Type returns what help calls the value by default.
func (n *FileName) Type() string { return "string" }

// Set sets the name, which must not be empty: a variable of a script that is not set must not
// lead to another file than the one that is meant.
func (n *FileName) Set(s string) error {
	if s == "" {
		return errors.New("the name is empty; name a file, or none for the defaults")
	}
	*n = FileName(s)
	return nil
}
