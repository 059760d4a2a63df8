package history

import (
	"fmt"
	"slices"
	"strings"
)

// Series are numbers of which a sparkline is made, the latest last.
type Series []int

// Sum returns the sum of the numbers.
func (s Series) Sum() (sum int) {
	for _, n := range s {
		sum += n
	}
	return sum
}

// Most returns the largest number, 0 of none.
func (s Series) Most() int { return slices.Max(append([]int{0}, s...)) }

// Last returns the latest number that is not 0, 0 if all are.
func (s Series) Last() int {
	for _, n := range slices.Backward(s) {
		if n != 0 {
			return n
		}
	}
	return 0
}

// bars are what a sparkline is made of. The first is for 0 alone, so that one that is not
// is always seen.
var bars = []rune("▁▂▃▄▅▆▇█")

// Line returns the last width numbers as a sparkline of as many runes.
func (s Series) Line(width int) string {
	s = s[max(len(s)-max(width, 0), 0):]
	most := s.Most()
	var b strings.Builder
	for _, n := range s {
		b.WriteRune(bars[step(n, most, len(bars)-1)])
	}
	return b.String()
}

// step returns n as a step between 0 and steps, which is that of most. It is 0 for 0 alone.
func step(n, most, steps int) int {
	if n <= 0 || most <= 0 {
		return 0
	}
	return max((n*steps+most-1)/most, 1)
}

// The size of the drawing that [Series.Path] fills.
const (
	barWidth  = 4
	barGap    = 1
	pathSteps = 20
)

// Box returns the view box of the drawing of the numbers.
func (s Series) Box() string {
	return fmt.Sprintf("0 0 %d %d", len(s)*(barWidth+barGap)-barGap, pathSteps+1)
}

// Path returns the drawing of the numbers, bars on a base line, as the data of a path of
// SVG.
func (s Series) Path() string {
	most := s.Most()
	var b strings.Builder
	for i, n := range s {
		height := 1 + step(n, most, pathSteps)
		fmt.Fprintf(&b, "M%d %dv-%dh%dv%dz", i*(barWidth+barGap), pathSteps+1, height, barWidth, height)
	}
	return b.String()
}
