package codexhome

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

var scrubbedNames = []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "SSL_CERT_FILE"}

func TestScrubDotenv(t *testing.T) {
	for _, test := range []struct {
		raw, want string
		lines     []DotenvLine
	}{
		{"", "", nil},
		{"A=1\nHTTPS_PROXY=http://p\nB=2", "A=1\nB=2", []DotenvLine{{2, "HTTPS_PROXY"}}},
		{"HTTPS_PROXY=http://p", "", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{"Https_Proxy=x\n", "", []DotenvLine{{1, "Https_Proxy"}}},
		{"HTTPS_PROXY=x\r\nA=1\r\n", "A=1\r\n", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{"\ufeffHTTPS_PROXY=x\nA=1\n", "A=1\n", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{" \t export \t HTTPS_PROXY \t = \"x\"\n", "", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{"\u00a0HTTPS_PROXY\u00a0=x\n\u2003export\u00a0NO_PROXY=*\n", "", []DotenvLine{{1, "HTTPS_PROXY"}, {2, "NO_PROXY"}}},
		{"export=HTTPS_PROXY\nexport = NO_PROXY=x\n", "export=HTTPS_PROXY\nexport = NO_PROXY=x\n", nil},
		{"# HTTPS_PROXY=x\n  # it's\nHTTPS_PROXY=x\n", "# HTTPS_PROXY=x\n  # it's\n", []DotenvLine{{3, "HTTPS_PROXY"}}},
		{"A=1 # it's\nHTTPS_PROXY=x\n", "A=1 # it's\n", []DotenvLine{{2, "HTTPS_PROXY"}}},
		{"HTTPS_PROXY=\"http://\n'p\n\"\nA=1\n", "A=1\n", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{"HTTPS_PROXY='a\\'\n'\nA=1\n", "A=1\n", []DotenvLine{{1, "HTTPS_PROXY"}}},
		{"A='\\'\nB=\n'\nHTTPS_PROXY=x\n", "A='\\'\nB=\n'\n", []DotenvLine{{4, "HTTPS_PROXY"}}},
		{"A=x#\"\nHTTPS_PROXY=x\n", "", []DotenvLine{{2, "HTTPS_PROXY"}}}, // one entry for dotenvy, two for others
		{"it's no variable\nHTTPS_PROXY=x\nB=1 '\nC=1\n", "C=1\n", []DotenvLine{{2, "HTTPS_PROXY"}}},
		{"MY_HTTPS_PROXY=x\nHTTPS_PROXY.X=x\nHTTPS_PROXY\n", "MY_HTTPS_PROXY=x\nHTTPS_PROXY.X=x\nHTTPS_PROXY\n", nil},
		{"A=${HTTPS_PROXY}\n", "A=${HTTPS_PROXY}\n", nil},
	} {
		got, lines := ScrubDotenv(test.raw, scrubbedNames)
		if got != test.want {
			t.Errorf("ScrubDotenv(%q) = %q, want %q", test.raw, got, test.want)
		}
		if !slices.Equal(lines, test.lines) {
			t.Errorf("ScrubDotenv(%q) finds %v, want %v", test.raw, lines, test.lines)
		}
	}
}

// FuzzScrubDotenv checks that what is left sets none of the variables, by the rules of
// dotenvy, and that nothing is made up.
func FuzzScrubDotenv(f *testing.F) {
	for _, seed := range []string{
		"A=1\nHTTPS_PROXY=x\n", "export HTTPS_PROXY='a\nb'\n", "A=\"\\\"\nNO_PROXY=x", "A='#\n#'\nNO_PROXY=*", "\ufeffNO_PROXY=*", "it's\nNO_PROXY=x\n'", "A=\\\nNO_PROXY=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		clean, _ := ScrubDotenv(raw, scrubbedNames)
		before := dotenvyKeys(raw)
		for _, key := range dotenvyKeys(clean) {
			if slices.ContainsFunc(scrubbedNames, func(name string) bool { return strings.EqualFold(name, key) }) {
				t.Errorf("%q sets %s; it was made of %q", clean, key, raw)
			}
			if !slices.Contains(before, key) {
				t.Errorf("%q sets %s, which %q does not", clean, key, raw)
			}
		}
		if again, _ := ScrubDotenv(clean, scrubbedNames); again != clean {
			t.Errorf("%q becomes %q", clean, again)
		}
	})
}

// dotenvyKeys returns what dotenvy 0.15 sets, or tries to: its state machine for lines,
// and its parser for what is before the value.
func dotenvyKeys(raw string) (keys []string) {
	const (
		complete = iota
		escape
		strongOpen
		strongOpenEscape
		weakOpen
		weakOpenEscape
		comment
		whiteSpace
	)
	lines := strings.SplitAfter(raw, "\n")
	for i := 0; i < len(lines); {
		entry, state := "", complete
		for {
			if i == len(lines) {
				break
			}
			line := lines[i]
			i++
			begin := len(entry)
			entry += line
			if strings.HasPrefix(strings.TrimLeftFunc(entry, unicode.IsSpace), "#") {
				entry, state = "", complete
				break
			}
		chars:
			for pos, c := range line {
				switch state {
				case whiteSpace, complete:
					switch {
					case state == whiteSpace && c == '#':
						entry, state = entry[:begin+pos], comment
						break chars
					case c == '\\':
						state = escape
					case c == '"':
						state = weakOpen
					case c == '\'':
						state = strongOpen
					case unicode.IsSpace(c) && c != '\n' && c != '\r':
						state = whiteSpace
					default:
						state = complete
					}
				case escape:
					state = complete
				case weakOpen:
					if c == '\\' {
						state = weakOpenEscape
					} else if c == '"' {
						state = complete
					}
				case weakOpenEscape:
					state = weakOpen
				case strongOpen:
					if c == '\\' {
						state = strongOpenEscape
					} else if c == '\'' {
						state = complete
					}
				case strongOpenEscape:
					state = strongOpen
				}
			}
			if state == complete || state == comment {
				break
			}
		}
		if key, ok := dotenvyKey(entry); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

func dotenvyKey(entry string) (string, bool) {
	rest := strings.TrimLeftFunc(strings.TrimPrefix(entry, "\ufeff"), unicode.IsSpace)
	key := func() string {
		n := 0
		for n < len(rest) {
			c := rest[n]
			letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
			if !letter && (n == 0 || c != '.' && (c < '0' || '9' < c)) {
				break
			}
			n++
		}
		k := rest[:n]
		rest = strings.TrimLeftFunc(rest[n:], unicode.IsSpace)
		return k
	}
	name := key()
	if name == "export" && !strings.HasPrefix(rest, "=") {
		name = key()
	}
	return name, name != "" && strings.HasPrefix(rest, "=")
}
