package codexhome

import (
	"iter"
	"slices"
	"strings"
	"unicode"
)

// DotenvLine is a line of a .env file that sets a variable.
type DotenvLine struct {
	Number int // from 1
	Name   string
}

// ScrubDotenv returns a .env file without the lines that set one of the variables, in
// either case, and those lines. Codex reads $CODEX_HOME/.env before anything else, and it
// overrides the environment.
func ScrubDotenv(raw string, names []string) (clean string, found []DotenvLine) {
	var kept strings.Builder
	number := 1
	for entry := range dotenvEntries(raw) {
		drop := false
		for line := range strings.Lines(entry) {
			// Each line of an entry: other parsers may see no quote that spans lines.
			name := dotenvVariable(line)
			if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
				drop = true
				found = append(found, DotenvLine{number, name})
			}
			number++
		}
		if !drop {
			kept.WriteString(entry)
		}
	}
	return kept.String(), found
}

// dotenvEntries returns the entries of a .env file: lines, or several lines that a quote
// spans. This and [dotenvVariable] do as the crate dotenvy, with which Codex reads it.
func dotenvEntries(raw string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var entry strings.Builder
		var quote rune // the open one, 0 for none
		for line := range strings.Lines(raw) {
			entry.WriteString(line)
			if quote != 0 || !strings.HasPrefix(trimSpace(line), "#") {
				quote = openQuote(line, quote)
			}
			if quote == 0 {
				if !yield(entry.String()) {
					return
				}
				entry.Reset()
			}
		}
		if entry.Len() > 0 {
			yield(entry.String())
		}
	}
}

// openQuote returns the open quote at the end of a line, where quote is open at its
// beginning. 0 is none.
func openQuote(line string, quote rune) rune {
	escaped, space := false, false
	for _, c := range line {
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '#' && space:
			return 0 // a comment
		case c == '"' || c == '\'':
			quote = c
		}
		space = unicode.IsSpace(c)
	}
	return quote
}

// dotenvVariable returns the variable that a line sets, "" for none.
func dotenvVariable(line string) string {
	name, rest := cutName(trimSpace(line))
	if rest = trimSpace(rest); name == "export" && !strings.HasPrefix(rest, "=") {
		name, rest = cutName(rest)
		rest = trimSpace(rest)
	}
	if !strings.HasPrefix(rest, "=") {
		return ""
	}
	return name
}

// cutName returns the name of a variable that s begins with, "" for none, and what
// follows it.
func cutName(s string) (name, rest string) {
	end := strings.IndexFunc(s, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && c != '_' && c != '.'
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// trimSpace cuts the white space, and byte order marks, that s begins with.
func trimSpace(s string) string {
	return strings.TrimLeftFunc(s, func(c rune) bool { return unicode.IsSpace(c) || c == '\ufeff' })
}
