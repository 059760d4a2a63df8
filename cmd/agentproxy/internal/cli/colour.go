package cli

// Colour reports whether what is written to stream may be coloured: it is a terminal that
// knows colours, and nobody has set NO_COLOR (https://no-color.org). getenv is as
// [os.Getenv].
func Colour(stream any, getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && IsTerminal(stream)
}
