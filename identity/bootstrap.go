package identity

import (
	"strconv"
	"strings"
)

// BootstrapKind is the part that a request has in making an identity. A request that
// makes one cannot be signed by it.
type BootstrapKind int

// The kinds of request.
const (
	// BootstrapNone has no part in it.
	BootstrapNone BootstrapKind = iota
	// BootstrapBiscuit asks for the human biscuit; it takes a Bearer token.
	BootstrapBiscuit
	// BootstrapRegistration registers an agent or a task. It keeps the client's own
	// credential and gets none of ours.
	BootstrapRegistration
)

// IsBootstrapPath returns the kind of the request with this path, which is
// percent-encoded as it was sent and has no query: …/authenticate_app_v2,
// …/v1/agent/register and …/v1/agent/*/task/register. Doubled and trailing slashes do
// not count, for clients that join URLs carelessly send them.
//
// Some server may take another spelling for one of these: percent-encoded, in capitals,
// with dot segments, backslashes or parameters. No client has a reason to send such a
// path. It is BootstrapRegistration, so that no credential of ours goes there.
func IsBootstrapPath(path string) BootstrapKind {
	if !maybeBootstrap(path) {
		return BootstrapNone
	}
	if kind := bootstrapKind(joinSegments(path)); kind != BootstrapNone {
		return kind
	}
	plain := plainPath(path)
	// Servers differ in whether an empty segment is one that ".." removes.
	for _, p := range []string{plain, joinSegments(plain)} {
		if bootstrapKind(joinSegments(removeDots(p))) != BootstrapNone {
			return BootstrapRegistration
		}
	}
	return BootstrapNone
}

// maybeBootstrap reports whether a path wants a closer look. It allocates nothing. A path
// that is neither disguised nor holds the name of an ending cannot end in one.
func maybeBootstrap(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c <= ' ', c >= 0x7f, 'A' <= c && c <= 'Z', c == '%', c == ';', c == '?', c == '#', c == '\\':
			return true
		}
	}
	return strings.Contains(path, "register") || strings.Contains(path, "authenticate_app_v2")
}

// bootstrapKind returns the kind of a path without doubled or trailing slashes. An id
// that was sent with a slash in it makes more than one segment.
func bootstrapKind(path string) BootstrapKind {
	switch {
	case strings.HasSuffix(path, "/authenticate_app_v2"):
		return BootstrapBiscuit
	case strings.HasSuffix(path, "/v1/agent/register"),
		strings.HasSuffix(path, "/task/register") && strings.Contains(path, "/v1/agent/"):
		return BootstrapRegistration
	}
	return BootstrapNone
}

// joinSegments returns path without empty segments.
func joinSegments(path string) string {
	var b strings.Builder
	b.Grow(len(path) + 1)
	for segment := range strings.SplitSeq(path, "/") {
		if segment != "" {
			b.WriteByte('/')
			b.WriteString(segment)
		}
	}
	return b.String()
}

// plainPath returns path without the disguises that a server might see through. Dot
// segments stay.
func plainPath(path string) string {
	// Servers decode once; one behind a gateway, twice. More is no path.
	for range 4 {
		decoded := unescape(path)
		if decoded == path {
			break
		}
		path = decoded
	}
	path = strings.ReplaceAll(strings.ToLower(path), `\`, "/")
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if end := strings.IndexAny(segment, ";?#"); end >= 0 {
			segments[i] = segment[:end]
		}
	}
	return strings.Join(segments, "/")
}

// removeDots returns path without dot segments.
func removeDots(path string) string {
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	return strings.Join(kept, "/")
}

// unescape returns s with %XX decoded and without spaces and control characters. A % that
// begins no escape stays.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if code, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(code)
				i += 2
			}
		}
		if c > ' ' && c != 0x7f {
			b = append(b, c)
		}
	}
	return string(b)
}
