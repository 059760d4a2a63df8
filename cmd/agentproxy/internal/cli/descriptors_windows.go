package cli

// Descriptors returns how many files and connections this process may have open. Windows has
// no such limit.
func Descriptors() (most uint64, ok bool) { return 0, false }
