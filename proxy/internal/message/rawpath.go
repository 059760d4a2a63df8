package message

import (
	"net/http"
	"net/url"
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

// URL returns the URL of a request that is sent on: authority, and the path and query of in byte
// for byte as they came, path being what [RawPath] has returned. url.URL writes some characters
// in another way than it reads them; an opaque URL is never rewritten.
func URL(in *url.URL, scheme, authority, path string) *url.URL {
	out := &url.URL{
		Scheme:     scheme,
		Host:       authority,
		Path:       in.Path,
		RawPath:    in.RawPath,
		RawQuery:   in.RawQuery,
		ForceQuery: in.ForceQuery,
	}
	if out.EscapedPath() != path && !strings.HasPrefix(path, "//") {
		out.Opaque = path
	}
	return out
}
