package message

import (
	"net/http"
	"strconv"
	"strings"
)

// CheckResponse returns an error for a response that net/http accepts from a server,
// but would panic at or change when it is sent on.
func CheckResponse(res *http.Response) error {
	if res.StatusCode < 100 || res.StatusCode > 999 {
		return Errorf("the status %d of the server is not a valid one", res.StatusCode)
	}
	// HTTP/2 does not use the length, so that nobody has checked it.
	if lengths := res.Header["Content-Length"]; lengths != nil {
		if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil || len(lengths) > 1 {
			return Errorf("the Content-Length of the server is not a valid one")
		}
	}
	return nil
}

// Unquoted returns what net/http says of an answer that is none, without the server's words
// that it quotes: they may be anything, a credential included. Other errors are ours.
func Unquoted(err error) string {
	text := err.Error()
	for _, flaw := range []string{"malformed ", "invalid ", "bad Content-Length", "multiple Content-Length", "unsupported transfer encoding"} {
		if strings.Contains(text, flaw) {
			text, _, _ = strings.Cut(text, `"`)
			text, _, _ = strings.Cut(text, "header line: ")
			return strings.TrimRight(text, " :")
		}
	}
	return text
}
