package logline

// The styles, as parameters of the control sequence SGR (ECMA-48, section 8.3.117).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	faint  = "90"
)

// palette paints words if it is true.
type palette bool

func (p palette) paint(style, word string) string {
	if !p || style == "" || word == "" {
		return word
	}
	return "\x1b[" + style + "m" + word + "\x1b[0m"
}

// status returns the style of a response's status.
func (palette) status(status string) string {
	switch status[:min(len(status), 1)] {
	case "1", "2", "3":
		return green
	case "4":
		return yellow
	}
	return red
}
