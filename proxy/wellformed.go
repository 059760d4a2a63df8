package proxy

import (
	"net/http"
	"strconv"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// checkWellFormed refuses a request that HTTP/2 can carry, and net/http lets
// pass, but that would be another request in HTTP/1.1, or none.
func checkWellFormed(r *http.Request) *refuse.Refusal {
	if refused := checkRequestLine(r.Method, r.RequestURI); refused != nil {
		return refused
	}
	if protocol := r.Header.Get("Upgrade"); isUpgrade(r) && !printable(protocol) {
		return refuseMalformed("Upgrade names %q, which is no protocol", protocol)
	}
	// Over HTTP/1 net/http has checked it.
	lengths := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || lengths == nil {
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
		return refuseMalformed("Content-Length %q is not the length of the body", lengths)
	}
	return nil
}

func checkRequestLine(method, uri string) *refuse.Refusal {
	if !httpguts.ValidHeaderFieldName(method) { // which is a token too
		return refuseMalformed("method %q is not a word", method)
	}
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c == 0x7f {
			return refuseMalformed("the path has a space or a control character in it; write it as %%%02X", c)
		}
	}
	return nil
}

// printable reports whether s has nothing in it but printable ASCII.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func refuseMalformed(format string, args ...any) *refuse.Refusal {
	return refuse.New(http.StatusBadRequest, "malformed_request", "http_request_error", format, args...)
}
