package logline

// The styles, as parameters of the control sequence SGR (ECMA-48, section 8.3.117).
const (
	Bold   = "1"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Cyan   = "36"
	Faint  = "90"
)

// Palette paints words if it is true.
type Palette bool

// Paint returns a word in a style, which may be "".
func (p Palette) Paint(style, word string) string {
	if !p || style == "" || word == "" {
		return word
	}
	return "\x1b[" + style + "m" + word + "\x1b[0m"
}

// StatusStyle returns the style of a response's status.
func StatusStyle(status string) string {
	switch status[:min(len(status), 1)] {
	case "1", "2", "3":
		return Green
	case "4":
		return Yellow
	}
	return Red
}
