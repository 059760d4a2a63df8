//go:build !linux

package cli

// HideMemory does nothing: this system has no such thing.
func HideMemory() {}
