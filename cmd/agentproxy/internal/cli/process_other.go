//go:build !unix

package cli

// DisableCoreDumps does nothing: this system has no such thing.
func DisableCoreDumps() {}

// Descriptors returns how many files and connections this process may have open. This system
// has no such limit.
func Descriptors() (most uint64, ok bool) { return 0, false }
