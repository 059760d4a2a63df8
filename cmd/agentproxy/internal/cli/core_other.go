//go:build !unix

package cli

// DisableCoreDumps does nothing: this system has no such thing.
func DisableCoreDumps() {}
