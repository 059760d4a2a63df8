package message

import (
	"net/http"
	"strings"
)

// RawPath returns the path of a request byte for byte as it was sent.
func RawPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if r.URL.IsAbs() {
		_, path, _ = strings.Cut(path, "://")
		i := strings.IndexByte(path, '/')
		if i < 0 {
			return "/"
		}
		path = path[i:]
	}
	return path
}
