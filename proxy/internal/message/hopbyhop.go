package message

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// EndToEnd is h without what is for this connection alone (RFC 9110,
// 7.6.1). The values are shared with h.
func EndToEnd(h http.Header) http.Header {
	out := make(http.Header, len(h)+2)
	for name, values := range h {
		if !isHopByHop(name) {
			out[name] = values
		}
	}
	removeNamed(out, h["Connection"])
	if te := h["Te"]; te != nil && httpguts.HeaderValuesContainsToken(te, "trailers") {
		out["Te"] = []string{"trailers"} // the answer's are passed on
	}
	if out["User-Agent"] == nil {
		out["User-Agent"] = []string{""} // or net/http sets its own
	}
	return out
}

// RemoveHopByHop removes from h what is for one connection alone.
func RemoveHopByHop(h http.Header) {
	removeNamed(h, h["Connection"])
	for name := range h {
		if isHopByHop(name) {
			delete(h, name)
		}
	}
}

// removeNamed removes the headers that a Connection header names.
func removeNamed(h http.Header, connection []string) {
	for _, value := range connection {
		for name := range strings.SplitSeq(value, ",") {
			if name = textproto.TrimString(name); name != "" {
				h.Del(name)
			}
		}
	}
}

func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}
