//go:build !linux

package launch

// HoldSocketDirs does nothing: nothing is hidden on this system.
func HoldSocketDirs() (release func()) { return func() {} }
