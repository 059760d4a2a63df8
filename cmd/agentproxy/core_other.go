//go:build !unix

package main

// disableCoreDumps does nothing: this system has no such thing.
func disableCoreDumps() {}
