//go:build !linux

package codexhome

// Servers returns none: only Linux shows the environment of a process.
func Servers(string) []Server { return nil }
