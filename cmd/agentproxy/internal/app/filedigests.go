package app

import (
	"crypto/sha256"
	"path/filepath"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// fileDigests holds digests of files when they were read, by their paths.
type fileDigests map[string]fileDigest

// fileDigest is the digest of a file, zero if it could not be read.
type fileDigest [sha256.Size]byte

// read reads a file and remembers it.
func (s fileDigests) read(path string) ([]byte, error) {
	raw, err := cli.ReadFile(path)
	s[path] = digestOf(raw, err)
	return raw, err
}

func digestOf(raw []byte, err error) (d fileDigest) {
	if err != nil {
		return d
	}
	return sha256.Sum256(raw)
}

// changed reports whether a file has changed since.
func (s fileDigests) changed() bool {
	for path, seen := range s {
		if digestOf(cli.ReadFile(path)) != seen {
			return true
		}
	}
	return false
}

// watched returns the directories in which a change of the files can be seen, and
// the absolute paths of the files there, links followed and not followed.
func (s fileDigests) watched() (dirs, files map[string]bool) {
	dirs, files = make(map[string]bool), make(map[string]bool)
	for path := range s {
		abs, err := filepath.Abs(path)
		if err != nil {
			continue // it is read now and then all the same
		}
		for _, p := range []string{abs, linkTarget(abs)} {
			dirs[filepath.Dir(p)], files[p] = true, true
		}
	}
	return dirs, files
}

// linkTarget returns the file that path leads to, or path if it leads to none.
func linkTarget(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}
