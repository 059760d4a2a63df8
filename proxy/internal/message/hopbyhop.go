// Package message has parts of HTTP messages that a proxy handles by itself: hop-by-hop
// fields, trailers, request bodies that may be sent again, and the buffers that bodies
// are copied through.
package message

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// EndToEnd returns a copy of h without hop-by-hop fields (RFC 9110, section 7.6.1).
// The values are shared with h.
func EndToEnd(h http.Header) http.Header {
	out := make(http.Header, len(h)+2)
	for name, values := range h {
		if !isHopByHop(name) {
			out[name] = values
		}
	}
	removeNamed(out, h["Connection"])
	if te := h["Te"]; te != nil && httpguts.HeaderValuesContainsToken(te, "trailers") {
		out["Te"] = []string{"trailers"} // those of the response are passed on
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = []string{""} // or net/http sets its own
	}
	return out
}

// RemoveHopByHop removes hop-by-hop fields from h.
func RemoveHopByHop(h http.Header) {
	removeNamed(h, h["Connection"])
	maps.DeleteFunc(h, func(name string, _ []string) bool { return isHopByHop(name) })
}

// removeNamed removes the fields that a Connection field names.
func removeNamed(h http.Header, connection []string) {
	for _, value := range connection {
		for name := range strings.SplitSeq(value, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
}

// isHopByHop reports whether the field of that name is always a hop-by-hop one.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}
