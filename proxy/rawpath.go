package proxy

import (
	"net/http"
	"strings"
)

// rawPath returns the path of a request byte for byte as it was sent.
func rawPath(r *http.Request) string {
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
