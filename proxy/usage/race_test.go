//go:build race

package usage

// manyTurns is the number of turns of a stream. The race detector makes each ten times
// dearer, and finds in few of them what it finds in many; make test has both.
const manyTurns = 100
