//go:build race

package proxy

// raceFactor makes room for the race detector, with which sync.Pool forgets
// at random.
const raceFactor = 1.25
