//go:build !race

package proxy

// raceFactor makes room for the race detector, with which sync.Pool forgets
// at random.
const raceFactor = 1

// lighter divides what the race detector makes dear; without it all is done.
const lighter = 1
