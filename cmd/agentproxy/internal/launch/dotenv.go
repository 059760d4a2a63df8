package launch

import (
	"regexp"
	"slices"
	"strings"
)

// DotenvLine is a line of a .env file that sets a variable.
type DotenvLine struct {
	Number int // from 1
	Name   string
}

var dotenvName = regexp.MustCompile(`^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)$`)

// DotenvLines returns the lines of a .env file that set one of the variables, in
// either case. Codex reads $CODEX_HOME/.env before anything else, and it overrides
// the environment.
func DotenvLines(raw string, names []string) []DotenvLine {
	_, found := scrubDotenv(raw, names)
	return found
}

// ScrubDotenv returns a .env file without the lines that set one of the variables.
func ScrubDotenv(raw string, names []string) string {
	clean, _ := scrubDotenv(raw, names)
	return clean
}

func scrubDotenv(raw string, names []string) (clean string, found []DotenvLine) {
	var kept strings.Builder
	var quote byte // of a value that goes on in the next line
	drop := false  // whether that value's variable is dropped
	number := 0
	for line := range strings.Lines(raw) {
		number++
		if quote == 0 {
			drop = false
			m := dotenvName.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
			if m != nil {
				drop = slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, m[1]) })
				quote = openQuote(m[2], 0)
				if drop {
					found = append(found, DotenvLine{number, m[1]})
				}
			}
		} else {
			quote = openQuote(line, quote)
		}
		if !drop {
			kept.WriteString(line)
		}
	}
	return kept.String(), found
}

// openQuote returns the quote that is open at the end of s, 0 for none, where quote
// is open at its beginning.
func openQuote(s string, quote byte) byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && c == '#':
			return 0 // a comment
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return quote
}
