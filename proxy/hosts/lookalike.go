package hosts

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// confusables are the lower-case letters of other scripts that look like one of ASCII:
// Cyrillic, Greek, Armenian, and Latin beyond ASCII. They are a part of Unicode's list
// (UTS 39). Letters with marks, and those of other widths and styles, are decomposed
// before.
var confusables = map[rune]string{
	'a': "\u0430\u03b1\u0251",
	'b': "\u044c\u0185",
	'c': "\u0441\u03f2\u2184",
	'd': "\u0501\u0257",
	'e': "\u0435\u0454\u04bd\u03b5",
	'f': "\u0192",
	'g': "\u0261\u0581",
	'h': "\u04bb\u0570",
	'i': "\u0456\u03b9\u0131\u0269\u026a",
	'j': "\u0458\u03f3",
	'k': "\u03ba\u043a",
	'l': "\u04cf\u026d",
	'm': "\u043c",
	'n': "\u0578\u043f\u03b7",
	'o': "\u043e\u03bf\u03c3\u0585\u0473\u04e9\u0275",
	'p': "\u0440\u03c1\u2ca3",
	'q': "\u051b",
	'r': "\u0433\u027e",
	's': "\u0455\ua731",
	't': "\u0442\u03c4",
	'u': "\u03c5\u057d\u028b",
	'v': "\u03bd\u0475",
	'w': "\u051d\u03c9\u0448\u026f",
	'x': "\u0445\u03c7",
	'y': "\u0443\u04af\u03b3\u028f",
	'z': "\u1d22",
	'-': "\u2010\u2011\u2012\u2013\u2212",
}

// asciiFor maps each of the confusables to its letter of ASCII.
var asciiFor = func() map[rune]rune {
	table := make(map[rune]rune)
	for ascii, letters := range confusables {
		for _, letter := range letters {
			table[letter] = ascii
		}
	}
	return table
}()

// Skeleton returns the ASCII name that an internationalised one (with labels that
// begin with "xn--") looks like (UTS 39), or "" for any other name. Names in ASCII that
// resemble another, such as "chatgpt.corn", have none.
func Skeleton(host string) string {
	if !strings.HasPrefix(host, "xn--") && !strings.Contains(host, ".xn--") {
		return ""
	}
	// Without validation: what one resolver refuses, another one looks up.
	name, err := idna.Punycode.ToUnicode(host)
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Mn, unicode.Cf) {
			return -1 // an accent, or invisible
		}
		r = unicode.ToLower(r)
		if ascii, ok := asciiFor[r]; ok {
			return ascii
		}
		return r
	}, norm.NFKD.String(name))
}
