package signer

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// strictPath returns the one form in which paths are compared: percent-encoding
// undone, and without repeated and trailing slashes, which careless clients send
// and servers pass over. p is the path as it was sent, without query.
//
// It reports false for a path that servers do not agree on: one that begins with
// two slashes, which some take for a host; that has a dot segment, a backslash, a
// parameter (";"), a fragment, a control character, or an encoded slash, percent
// sign or question mark in it; that is not UTF-8 when decoded; or that has bytes
// outside of RFC 3986, section 3.3.
func strictPath(p string) (clean string, ok bool) {
	if p == "" || p[0] != '/' || strings.HasPrefix(p, "//") {
		return "", false
	}
	asIs, segment := true, 1
	for i := 1; i <= len(p); i++ {
		switch {
		case i == len(p) || p[i] == '/':
			switch p[segment:i] {
			case "":
				asIs = asIs && p == "/"
			case ".", "..":
				return "", false
			}
			segment = i + 1
		case p[i] == '%':
			asIs = false
		case !isPathByte(p[i]):
			return "", false
		}
	}
	if asIs {
		return p, true
	}
	decoded, ok := decodePath(p)
	if !ok {
		return "", false
	}
	return joinSegments(decoded)
}

// isPathByte reports whether c stands for itself in a path (pchar of RFC 3986,
// section 3.3). A semicolon does, too, but begins a parameter to some servers.
func isPathByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '_', '~', '!', '$', '&', '\'', '(', ')', '*', '+', ',', '=', ':', '@':
		return true
	}
	return false
}

// decodePath undoes percent-encoding, once. It refuses what would be something
// else to a server that decodes at another time, or twice.
func decodePath(p string) (string, bool) {
	b := make([]byte, 0, len(p))
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' {
			code, err := strconv.ParseUint(p[i+1:min(i+3, len(p))], 16, 8)
			if err != nil || i+2 >= len(p) {
				return "", false
			}
			c = byte(code)
			if c < ' ' || c == 0x7f || strings.IndexByte(`/\%;?#`, c) >= 0 {
				return "", false
			}
			i += 2
		}
		b = append(b, c)
	}
	return string(b), utf8.Valid(b)
}

// joinSegments drops empty segments, and refuses dot segments.
func joinSegments(p string) (string, bool) {
	var b strings.Builder
	b.Grow(len(p))
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "":
			continue
		case ".", "..":
			return "", false
		}
		b.WriteByte('/')
		b.WriteString(segment)
	}
	if b.Len() == 0 {
		return "/", true
	}
	return b.String(), true
}

// isStrict reports whether a path has a strict form.
func isStrict(p string) bool {
	_, ok := strictPath(p)
	return ok
}
