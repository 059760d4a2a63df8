package h1server

import (
	"bytes"

	"golang.org/x/net/http/httpguts"
)

// fastPath reports whether b begins with the whole head of a plain request. It parses
// nothing, which [http.ReadRequest] does afterwards. It makes sure that there is
// nothing in the head that two parsers might read differently, or that needs more than
// reading a body of known length, or an upgrade without a body.
func fastPath(b []byte) bool {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	lines := b[:end+2]
	line, lines := cutLine(lines)
	if !plainRequestLine(line) {
		return false
	}
	hosts, lengths, upgrades := 0, 0, 0
	for len(lines) > 0 {
		line, lines = cutLine(lines)
		colon := bytes.IndexByte(line, ':')
		if colon < 1 || !plainName(line[:colon]) || !plainValue(line[colon+1:]) {
			return false
		}
		switch value := line[colon+1:]; headField(line[:colon]) {
		case "host":
			hosts++
		case "content-length":
			lengths++
		case "connection":
			if value = bytes.Trim(value, " \t"); !foldEqual(value, "keep-alive") && !foldEqual(value, "close") && !foldEqual(value, "upgrade") {
				return false
			}
		case "upgrade":
			upgrades++
		case "":
		default:
			return false
		}
	}
	return hosts == 1 && lengths+upgrades <= 1
}

// cutLine returns the first line of b, without CR and LF, and the rest. A CR or LF by
// itself is left in, where no line may have it.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.Index(b, []byte("\r\n"))
	return b[:i], b[i+2:]
}

// plainRequestLine reports whether line asks for a path of this server, by a method
// whose responses have a body like any other.
func plainRequestLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return false
	}
	target, ok := bytes.CutSuffix(rest, []byte(" HTTP/1.1"))
	if !ok || len(target) == 0 || target[0] != '/' {
		return false
	}
	for _, c := range target {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// plainName reports whether b is a token (RFC 9110, section 5.6.2).
func plainName(b []byte) bool {
	for _, c := range b {
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return true
}

// plainValue reports whether b has no control characters but tabs.
func plainValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// headField returns the name of a field that says how the message is to be read, or what
// happens to the connection; "" for all others.
func headField(name []byte) string {
	for _, field := range [...]string{
		"host", "connection", "content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer", "keep-alive", "proxy-connection",
	} {
		if foldEqual(name, field) {
			return field
		}
	}
	return ""
}

// foldEqual reports whether b is lower, which is in lower case, ignoring case.
func foldEqual(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
