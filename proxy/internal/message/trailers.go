package message

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ForwardTrailers makes the trailers that in has announced follow the body of out. It
// drops unannounced ones and those whose names drop reports.
func ForwardTrailers(out, in *http.Request, drop func(name string) bool) {
	if len(in.Trailer) == 0 || out.Body == nil {
		out.Trailer = nil
		return
	}
	out.Trailer = make(http.Header, len(in.Trailer))
	for name := range in.Trailer {
		if !drop(name) && name != "Proxy-Authorization" && httpguts.ValidTrailerHeader(name) {
			out.Trailer[name] = nil
		}
	}
	out.Body = &trailerBody{ReadCloser: out.Body, in: in, out: out.Trailer}
}

// AnnounceTrailers announces in h the trailers that res has announced, and returns how many.
func AnnounceTrailers(h http.Header, res *http.Response) int {
	if len(res.Trailer) > 0 {
		h["Trailer"] = []string{strings.Join(slices.Collect(maps.Keys(res.Trailer)), ", ")}
	}
	return len(res.Trailer)
}

// CopyTrailers makes the trailers that res has after its body follow one in h, of which so many
// were announced. They all were, or net/http is told that they are trailers.
func CopyTrailers(h http.Header, res *http.Response, announced int) {
	prefix := ""
	if len(res.Trailer) != announced {
		prefix = http.TrailerPrefix
	}
	for name, values := range res.Trailer {
		if httpguts.ValidTrailerHeader(name) {
			h[prefix+name] = values
		}
	}
}

// trailerBody is a body that fills in the trailers when it has been read to its end. It does so
// once: when a request is sent again, its end is read a second time, while the transport of the
// first try may still be sending the trailers.
type trailerBody struct {
	io.ReadCloser
	in    *http.Request
	out   http.Header
	ended bool
}

// Read implements [io.Reader].
func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && !b.ended {
		b.ended = true
		for name := range b.out {
			b.out[name] = b.in.Trailer[name]
		}
	}
	return n, err
}
