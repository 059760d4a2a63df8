//go:build !linux

package access

// isOverflow reports whether uid stands for users without a number. Only Linux has such.
func isOverflow(uint32) bool { return false }
