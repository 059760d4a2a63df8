//go:build race

package proxy

// raceFactor makes room for the race detector, with which sync.Pool forgets
// at random.
const raceFactor = 1.25

// lighter divides what tests do many times over, and the size of what is large: the
// detector makes it ten times dearer, and finds in a few what it finds in many. make test
// runs these tests without the detector too, in full.
const lighter = 4
