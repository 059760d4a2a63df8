//go:build !race

package usage

// manyTurns is the number of turns of a stream.
const manyTurns = 1000
