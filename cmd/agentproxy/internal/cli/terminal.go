package cli

import (
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// IsTerminal reports whether stream is a file that is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && f != nil && term.IsTerminal(int(f.Fd()))
}

// Printable returns s with a question mark in place of every rune that could
// control a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// Colour reports whether what is written to stream may be coloured: it is a terminal that
// knows colours, and nobody has set NO_COLOR (https://no-color.org). getenv is as
// [os.Getenv].
func Colour(stream any, getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && IsTerminal(stream)
}
