package top

import (
	"fmt"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
)

// The control sequences: switch to another screen without a cursor and back, go to the
// upper left corner, clear the rest of a line and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toCorner    = "\x1b[H"
	clearLine   = "\x1b[K"
	clearScreen = "\x1b[J"
)

const (
	// leastBody is how many lines of the body are seen at least; where there is no room
	// for them, the head is scrolled with the rest.
	leastBody = 4
	// sideways is how many columns an arrow moves the view by.
	sideways = 8
	// sparkBeside is what stands beside a sparkline, in columns.
	sparkBeside = 50
)

// view is what is seen of a status, on a screen of some size.
type view struct {
	status        admin.Status
	err           error // why there is no later status
	paused        bool
	width, height int
	down, right   int // how far it is scrolled
	palette       logline.Palette
}

// parts returns the lines that stay where they are, those that are scrolled, and how many
// of these are seen.
func (v *view) parts() (fixed, scrolled []line, seen int) {
	if v.err != nil { // it may come back
		fixed = append(fixed, words(logline.Red, v.err.Error()), nil)
	}
	fixed = append(fixed, head(v.status, min(max(v.width-sparkBeside, 10), maxSpark))...)
	scrolled = body(v.status)
	if seen = v.height - len(fixed) - 1; seen < leastBody {
		scrolled = append(fixed, scrolled...)
		fixed, seen = nil, max(v.height-1, 1)
	}
	return fixed, scrolled, seen
}

// press acts on a key, and reports whether to leave the view.
func (v *view) press(k key) (quit bool) {
	_, scrolled, seen := v.parts()
	switch k {
	case keyQuit:
		return true
	case keyPause:
		v.paused = !v.paused
	case keyUp:
		v.down--
	case keyDown:
		v.down++
	case keyPageUp:
		v.down -= seen
	case keyPageDown:
		v.down += seen
	case keyHome:
		v.down, v.right = 0, 0
	case keyEnd:
		v.down = len(scrolled)
	case keyLeft:
		v.right -= sideways
	case keyRight:
		v.right += sideways
	}
	return false
}

// frame returns what the terminal is sent to show the view.
func (v *view) frame() string {
	fixed, scrolled, seen := v.parts()
	v.down = max(min(v.down, len(scrolled)-seen), 0)
	most := 0
	for _, l := range scrolled {
		most = max(most, l.width())
	}
	v.right = max(min(v.right, most-v.width+sideways-1)/sideways*sideways, 0)
	until := min(v.down+seen, len(scrolled))
	var b strings.Builder
	b.WriteString(toCorner)
	put := func(l line, right int) {
		b.WriteString(l.cut(right, right+v.width).paint(v.palette) + clearLine + "\r\n")
	}
	for _, l := range fixed {
		put(l, 0)
	}
	for _, l := range scrolled[v.down:until] {
		put(l, v.right)
	}
	b.WriteString(clearScreen)
	if v.height > 1 {
		fmt.Fprintf(&b, "\x1b[%dH%s%s", v.height, v.foot(until, len(scrolled)).cut(0, v.width).paint(v.palette), clearLine)
	}
	return b.String()
}

// foot returns the last line: the keys, and what is seen.
func (v *view) foot(until, all int) line {
	pause := "p pause"
	if v.paused {
		pause = "p resume"
	}
	foot := "q quit  " + pause + "  ←↓↑→ scroll"
	if v.down > 0 || until < all {
		foot += fmt.Sprintf("  lines %d–%d of %d", v.down+1, until, all)
	}
	state := line{{logline.Faint, cli.Printable(foot)}}
	if v.paused {
		state = append(state, span{logline.Yellow, "  PAUSED"})
	}
	return state
}
