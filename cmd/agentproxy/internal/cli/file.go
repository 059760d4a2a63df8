package cli

import "github.com/agentproxy/agentproxy/internal/safefile"

// maxFile bounds what is read of a file that a user names, in bytes. Bundles of
// certificates are the largest.
const maxFile = 16 << 20

// ReadFile returns the content of the regular file at path.
func ReadFile(path string) ([]byte, error) { return safefile.Read(path, maxFile) }
