package doctor

// isFull reports false: only a write tells.
func isFull(error) bool { return false }
